"""The runs, the conversations and the labs' results kept: SQLAlchemy repositories that hand out frozen records."""

from app.store.chat.records import ChatMessage, Conversation, ConversationSummary, TurnTiming
from app.store.chat.repository import ChatStore
from app.store.configurations.records import SavedConfiguration
from app.store.configurations.repository import NAME_CHARACTERS, ConfigurationStore, NameTakenError
from app.store.database.errors import (
    ConversationNotFoundError,
    ConversationOfAnotherError,
    FileLostError,
    GoneError,
    RunNotFoundError,
    RunOfAnotherError,
    StoreError,
)
from app.store.experiments.autopilots import AutopilotStore
from app.store.experiments.leases import UnderWayError
from app.store.experiments.records import (
    Cell,
    CellKey,
    ExperimentState,
    JudgeId,
    Judgement,
    JudgementKey,
    JudgementKind,
    KeptAutopilot,
    KeptExperiment,
    KeptHeat,
    LostCell,
    NoVerdict,
    Pass,
    RunScore,
    StartedFrom,
    UnderWay,
)
from app.store.experiments.repository import ExperimentStore, run_metadata
from app.store.keys.repository import KeyStore
from app.store.labs.draft_records import DraftFigures, DraftResult
from app.store.labs.drafts import DraftStore
from app.store.labs.records import AlarmLimits, CorpusResult, KeptCorpus, SpeedResult, TaskAnswer, TaskResult
from app.store.labs.repository import LabStore
from app.store.outbox.outbox import Waiting
from app.store.people.repository import PeopleStore
from app.store.people.visibility import Viewer
from app.store.repository import RunStore
from app.store.router.judgements import AnswerKey
from app.store.router.records import (
    KeptMark,
    KeptProfile,
    KeptSet,
    KeptVerdict,
    RecordedAnswer,
    RecordedTier,
    answer_sha256,
    estimated_from,
    machine_words,
)
from app.store.router.repository import RouterStore, ladder_key
from app.store.runs.figures import (
    AnswerSpeed,
    ConfigurationStats,
    GroupStats,
    Latency,
    Percentiles,
    RecentSpeed,
    TimeBucket,
    Totals,
    Work,
)
from app.store.runs.records import (
    ALL_RUNS,
    NEWEST_FIRST,
    WITHOUT_LABS,
    Configuration,
    EndedRun,
    Facets,
    Rating,
    RunFilter,
    RunOutcome,
    RunPage,
    RunRecord,
    RunSort,
    RunSource,
    RunStatus,
    RunSummary,
    SortColumn,
)
from app.store.runs.reports import Reports
from app.store.runs.statistics.answered import AnsweredRun, UsedConfiguration
from app.store.runs.statistics.cascades import CascadeSums
from app.store.runs.statistics.overview import Overview
from app.store.runs.statistics.repeats import Repeats
from app.store.runs.timeline import Timeline

__all__ = [
    "ALL_RUNS",
    "NAME_CHARACTERS",
    "NEWEST_FIRST",
    "WITHOUT_LABS",
    "AlarmLimits",
    "AnswerKey",
    "AnswerSpeed",
    "AnsweredRun",
    "AutopilotStore",
    "CascadeSums",
    "Cell",
    "CellKey",
    "ChatMessage",
    "ChatStore",
    "Configuration",
    "ConfigurationStats",
    "ConfigurationStore",
    "Conversation",
    "ConversationNotFoundError",
    "ConversationOfAnotherError",
    "ConversationSummary",
    "CorpusResult",
    "DraftFigures",
    "DraftResult",
    "DraftStore",
    "EndedRun",
    "ExperimentState",
    "ExperimentStore",
    "Facets",
    "FileLostError",
    "GoneError",
    "GroupStats",
    "JudgeId",
    "Judgement",
    "JudgementKey",
    "JudgementKind",
    "KeptAutopilot",
    "KeptCorpus",
    "KeptExperiment",
    "KeptHeat",
    "KeptMark",
    "KeptProfile",
    "KeptSet",
    "KeptVerdict",
    "KeyStore",
    "LabStore",
    "Latency",
    "LostCell",
    "NameTakenError",
    "NoVerdict",
    "Overview",
    "Pass",
    "PeopleStore",
    "Percentiles",
    "Rating",
    "RecentSpeed",
    "RecordedAnswer",
    "RecordedTier",
    "Repeats",
    "Reports",
    "RouterStore",
    "RunFilter",
    "RunNotFoundError",
    "RunOfAnotherError",
    "RunOutcome",
    "RunPage",
    "RunRecord",
    "RunScore",
    "RunSort",
    "RunSource",
    "RunStatus",
    "RunStore",
    "RunSummary",
    "SavedConfiguration",
    "SortColumn",
    "SpeedResult",
    "StartedFrom",
    "StoreError",
    "TaskAnswer",
    "TaskResult",
    "TimeBucket",
    "Timeline",
    "Totals",
    "TurnTiming",
    "UnderWay",
    "UnderWayError",
    "UsedConfiguration",
    "Viewer",
    "Waiting",
    "Work",
    "answer_sha256",
    "estimated_from",
    "ladder_key",
    "machine_words",
    "run_metadata",
]
