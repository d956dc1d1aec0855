"""What crosses a boundary: the request, its configuration, the events that come back, the metrics.

Every type here is a frozen dataclass. Times are seconds, sizes are bytes, and both say so in
their names. Nothing here imports torch: a page can use these types without paying for it.
"""

from engine.types.config import (
    CPU_PRECISIONS,
    DEFAULT_KV_CACHE_BYTES,
    Backend,
    CacheMode,
    DeviceChoice,
    GenerationRequest,
    KVCacheConfig,
    Message,
    OptimizationConfig,
    Precision,
    QuantizationConfig,
    Role,
    RunConfig,
    SamplingParams,
)
from engine.types.events import (
    CacheReport,
    Event,
    FinishReason,
    Heartbeat,
    Loading,
    MissCause,
    PrefillDone,
    Queued,
    RunFailed,
    RunFinished,
    RunMetrics,
    Started,
    TokenEvent,
    TokenSource,
)

__all__ = [
    "CPU_PRECISIONS",
    "DEFAULT_KV_CACHE_BYTES",
    "Backend",
    "CacheMode",
    "CacheReport",
    "DeviceChoice",
    "Event",
    "FinishReason",
    "GenerationRequest",
    "Heartbeat",
    "KVCacheConfig",
    "Loading",
    "Message",
    "MissCause",
    "OptimizationConfig",
    "Precision",
    "PrefillDone",
    "QuantizationConfig",
    "Queued",
    "Role",
    "RunConfig",
    "RunFailed",
    "RunFinished",
    "RunMetrics",
    "SamplingParams",
    "Started",
    "TokenEvent",
    "TokenSource",
]
