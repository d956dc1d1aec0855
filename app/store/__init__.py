"""The runs, the conversations and the labs' results kept: SQLAlchemy repositories that hand out frozen records."""

from app.store.alerts.records import (
    Alert,
    AlertEvent,
    AlertState,
    Channel,
    Condition,
    Delivery,
    DeliveryState,
    Errand,
    EventKind,
    Figure,
    Finding,
    Gear,
    Rule,
)
from app.store.alerts.repository import AlertStore
from app.store.chat.records import (
    ChatMessage,
    Conversation,
    ConversationSummary,
    NewConversation,
    NewMessage,
    TurnTiming,
)
from app.store.chat.repository import ChatStore
from app.store.configurations.records import SavedConfiguration
from app.store.configurations.repository import NAME_CHARACTERS, ConfigurationStore, NameTakenError
from app.store.database.backup import back_up, restore
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
)
from app.store.experiments.repository import ExperimentStore, run_metadata
from app.store.judging.records import Candidate, Disagreement, JudgeCounts, LiveJudgement, ScoreSums
from app.store.judging.repository import JudgingStore
from app.store.keys.repository import KeyStore
from app.store.labs.draft_records import DraftFigures, DraftResult
from app.store.labs.drafts import DraftStore
from app.store.labs.records import AlarmLimits, CorpusResult, KeptCorpus, SpeedResult, TaskAnswer, TaskResult
from app.store.labs.repository import LabStore
from app.store.leases.records import StartedFrom, UnderWay
from app.store.leases.repository import UnderWayError
from app.store.objectives.records import (
    ALL_TRAFFIC,
    Counted,
    Metric,
    Moments,
    Objective,
    PrecisionUse,
    Scope,
    Stretch,
    Tally,
)
from app.store.objectives.repository import ObjectiveStore
from app.store.options.repository import OptionStore
from app.store.outbox.outbox import Waiting
from app.store.people.repository import PeopleStore
from app.store.people.visibility import Viewer
from app.store.remote.records import KeptRemote, NewRemote
from app.store.remote.repository import RemoteStore
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
    KindStats,
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
from app.store.runs.retention.records import KEEP_ALL, Pruned, RetentionRule
from app.store.runs.rollups.covering import Missing
from app.store.runs.search.looking_back import LOOKED_BACK
from app.store.runs.statistics.answered import AnsweredRun, UsedConfiguration
from app.store.runs.statistics.cascades import CascadeSums
from app.store.runs.statistics.overview import Overview
from app.store.runs.statistics.repeats import Repeats
from app.store.runs.timeline import Timeline
from app.store.sentinel.records import Deviation, GoldenAnswer, GoldenPrompt, RoundCause, SentinelRound
from app.store.sentinel.repository import SentinelStore
from app.store.upkeep.turns import Holder

__all__ = [
    "ALL_RUNS",
    "ALL_TRAFFIC",
    "KEEP_ALL",
    "LOOKED_BACK",
    "NAME_CHARACTERS",
    "NEWEST_FIRST",
    "WITHOUT_LABS",
    "AlarmLimits",
    "Alert",
    "AlertEvent",
    "AlertState",
    "AlertStore",
    "AnswerKey",
    "AnswerSpeed",
    "AnsweredRun",
    "AutopilotStore",
    "Candidate",
    "CascadeSums",
    "Cell",
    "CellKey",
    "Channel",
    "ChatMessage",
    "ChatStore",
    "Condition",
    "Configuration",
    "ConfigurationStats",
    "ConfigurationStore",
    "Conversation",
    "ConversationNotFoundError",
    "ConversationOfAnotherError",
    "ConversationSummary",
    "CorpusResult",
    "Counted",
    "Delivery",
    "DeliveryState",
    "Deviation",
    "Disagreement",
    "DraftFigures",
    "DraftResult",
    "DraftStore",
    "EndedRun",
    "Errand",
    "EventKind",
    "ExperimentState",
    "ExperimentStore",
    "Facets",
    "Figure",
    "FileLostError",
    "Finding",
    "Gear",
    "GoldenAnswer",
    "GoldenPrompt",
    "GoneError",
    "GroupStats",
    "Holder",
    "JudgeCounts",
    "JudgeId",
    "Judgement",
    "JudgementKey",
    "JudgementKind",
    "JudgingStore",
    "KeptAutopilot",
    "KeptCorpus",
    "KeptExperiment",
    "KeptHeat",
    "KeptMark",
    "KeptProfile",
    "KeptRemote",
    "KeptSet",
    "KeptVerdict",
    "KeyStore",
    "KindStats",
    "LabStore",
    "Latency",
    "LiveJudgement",
    "LostCell",
    "Metric",
    "Missing",
    "Moments",
    "NameTakenError",
    "NewConversation",
    "NewMessage",
    "NewRemote",
    "NoVerdict",
    "Objective",
    "ObjectiveStore",
    "OptionStore",
    "Overview",
    "Pass",
    "PeopleStore",
    "Percentiles",
    "PrecisionUse",
    "Pruned",
    "Rating",
    "RecentSpeed",
    "RecordedAnswer",
    "RecordedTier",
    "RemoteStore",
    "Repeats",
    "Reports",
    "RetentionRule",
    "RoundCause",
    "RouterStore",
    "Rule",
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
    "Scope",
    "ScoreSums",
    "SentinelRound",
    "SentinelStore",
    "SortColumn",
    "SpeedResult",
    "StartedFrom",
    "StoreError",
    "Stretch",
    "Tally",
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
    "back_up",
    "estimated_from",
    "ladder_key",
    "machine_words",
    "restore",
    "run_metadata",
]
