"""What the store hands out of many runs at once: counts, percentiles, speeds.

Durations are seconds; sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.store.runs.records import Configuration


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Nearest-rank percentiles of one figure; ``None`` where there is none to rank."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Percentiles over finished runs, in seconds."""

    left_out: int = 0
    """Disturbed runs that were left out of them."""
    ttft_s: Percentiles = Percentiles()
    tpot_s: Percentiles = Percentiles()
    e2e_s: Percentiles = Percentiles()


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts over a set of runs."""

    runs: int
    finished: int
    stopped: int
    failed: int
    interrupted: int
    running: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    drafted_tokens: int
    accepted_tokens: int
    discarded_tokens: int
    disturbed: int
    """Finished runs that are marked as disturbed."""
    weights_bytes: int | None
    """The greatest among the runs, like the two below; ``None`` where none was measured."""
    kv_bytes: int | None
    peak_rss_bytes: int | None

    @property
    def error_rate(self) -> float | None:
        """Failed and interrupted runs over runs that are over; ``None`` if there are none."""
        return self._share(self.failed + self.interrupted)

    @property
    def stop_rate(self) -> float | None:
        """Stopped runs over runs that are over; ``None`` if there are none."""
        return self._share(self.stopped)

    @property
    def acceptance_rate(self) -> float | None:
        """Accepted over drafted tokens; ``None`` where nothing was drafted."""
        return self.accepted_tokens / self.drafted_tokens if self.drafted_tokens else None

    def _share(self, count: int) -> float | None:
        over = self.runs - self.running
        return count / over if over else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentSpeed:
    """What the latest runs of a model at one precision say of it."""

    runs: int
    """Those that were not disturbed."""
    tpot_s: float | None
    """Their median; ``None`` without any."""
    weights_bytes: int | None
    """Of the latest in which no other model may have drafted; ``None`` without any."""
    read_s: float | None = None
    """Median seconds a token of the prompt, of runs that read one; ``None`` without any."""
    load_s: float | None = None
    """Median seconds of loading the weights, of runs that had to; ``None`` without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeBucket:
    """What was started in one stretch of time. Buckets without runs are left out."""

    start: datetime
    totals: Totals
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationStats:
    """What one configuration did."""

    configuration: Configuration
    totals: Totals
    latency: Latency

    @property
    def weights_bytes(self) -> int | None:
        """The greatest among the runs; ``None`` where none was measured."""
        return self.totals.weights_bytes

    @property
    def kv_bytes(self) -> int | None:
        """The greatest among the runs; ``None`` where none was measured."""
        return self.totals.kv_bytes

    @property
    def tokens_per_second(self) -> float | None:
        """The decode rate of the median run: 1 / TPOT at p50."""
        return 1 / self.latency.tpot_s.p50 if self.latency.tpot_s.p50 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSpeed:
    """How one model at one precision answered here: medians over its latest runs."""

    model: str
    precision: str
    runs: int
    prompt_tokens: int
    completion_tokens: int
    e2e_s: float
    """Waiting left out."""
    mean_batch_size: float
    """1 for runs that had the engine alone, or as good as alone."""
