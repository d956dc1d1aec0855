"""The runs, the conversations and the labs' results kept: SQLAlchemy repositories that hand out frozen records."""

from app.store.chat import ChatStore
from app.store.chat_records import ChatMessage, Conversation, ConversationSummary, TurnTiming
from app.store.draft_records import DraftFigures, DraftResult
from app.store.drafts import DraftStore
from app.store.errors import ConversationNotFoundError, FileLostError, GoneError, RunNotFoundError, StoreError
from app.store.lab import LabStore
from app.store.lab_records import AlarmLimits, CorpusResult, KeptCorpus, SpeedResult, TaskAnswer, TaskResult
from app.store.outbox import Waiting
from app.store.records import (
    ALL_RUNS,
    NEWEST_FIRST,
    Configuration,
    ConfigurationStats,
    Facets,
    Latency,
    Percentiles,
    Rating,
    RecentSpeed,
    RunFilter,
    RunOutcome,
    RunPage,
    RunRecord,
    RunSort,
    RunStatus,
    RunSummary,
    SortColumn,
    TimeBucket,
    Totals,
)
from app.store.repository import RunStore
from app.store.router import RouterStore, ladder_key
from app.store.router_records import KeptProfile, KeptSet, RecordedTier
from app.store.timeline import Timeline

__all__ = [
    "ALL_RUNS",
    "NEWEST_FIRST",
    "AlarmLimits",
    "ChatMessage",
    "ChatStore",
    "Configuration",
    "ConfigurationStats",
    "Conversation",
    "ConversationNotFoundError",
    "ConversationSummary",
    "CorpusResult",
    "DraftFigures",
    "DraftResult",
    "DraftStore",
    "Facets",
    "FileLostError",
    "GoneError",
    "KeptCorpus",
    "KeptProfile",
    "KeptSet",
    "LabStore",
    "Latency",
    "Percentiles",
    "Rating",
    "RecentSpeed",
    "RecordedTier",
    "RouterStore",
    "RunFilter",
    "RunNotFoundError",
    "RunOutcome",
    "RunPage",
    "RunRecord",
    "RunSort",
    "RunStatus",
    "RunStore",
    "RunSummary",
    "SortColumn",
    "SpeedResult",
    "StoreError",
    "TaskAnswer",
    "TaskResult",
    "TimeBucket",
    "Timeline",
    "Totals",
    "TurnTiming",
    "Waiting",
    "ladder_key",
]
