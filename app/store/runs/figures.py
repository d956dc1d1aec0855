"""What the store hands out of many runs at once: counts, percentiles, speeds.

Durations are seconds; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    queue_s: Percentiles = Percentiles()


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
    untold_prompt_tokens: int = 0
    """Prompt tokens of runs of which it is not known how many were reused: a server may not tell."""
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

    @property
    def hit_rate(self) -> float | None:
        """Prompt tokens whose KV was reused over all of which that is known; ``None`` where there are none."""
        told = self.prompt_tokens - self.untold_prompt_tokens
        return self.cached_tokens / told if told else None

    def _share(self, count: int) -> float | None:
        over = self.runs - self.running
        return count / over if over else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a set of runs took of the machine, how they ended, and what the gears did."""

    ended_stop: int = 0
    """Finished because the model ended its answer."""
    ended_length: int = 0
    """Finished because the answer was as long as it may be."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Runs by the class of what they failed with."""
    tiers: Mapping[str, int] = field(default_factory=dict)
    """Answers of cascades by who gave them."""
    batched: int = 0
    """Runs of which it is known with how many they shared their passes."""
    batch_sizes: float = 0.0
    """Sequences in a pass, the mean of each of those, summed."""
    shared: int = 0
    """Runs that shared their passes."""
    busy_s: float = 0.0
    """Seconds from the moment that they were taken up to their end, summed."""
    machine_s: float = 0.0
    """The same, divided by those that shared the passes: what they took of the machine."""
    verification_steps: int = 0
    speculated: int = 0
    """Runs of which it is known what speculation saved."""
    speculation_saved_s: float = 0.0
    """Derived: against one plain step for each token; below 0 where time was lost."""
    cascades: int = 0
    """Runs of which it is known what their largest model alone would have taken."""
    went_up: int = 0
    """Those that it answered: what it alone would have taken is measured there, and derived where it did not."""
    alone_measured_s: float = 0.0
    saved_measured_s: float = 0.0
    """Against that, below 0 where time was lost."""
    alone_derived_s: float = 0.0
    saved_derived_s: float = 0.0
    plain_read_tokens: int = 0
    """Prompt tokens of undisturbed runs with no gear but the precision in the way, alone on the engine."""
    plain_read_s: float = 0.0
    plain_written_tokens: int = 0
    """Tokens after the first that such runs wrote."""
    plain_written_s: float = 0.0

    @property
    def mean_batch_size(self) -> float | None:
        """Sequences in a pass; ``None`` where that is known of no run."""
        return self.batch_sizes / self.batched if self.batched else None

    @property
    def escalation_share(self) -> float | None:
        """Of cascades' answers, those of the largest model; ``None`` without any."""
        return self.went_up / self.cascades if self.cascades else None

    @property
    def read_s(self) -> float | None:
        """Seconds that reading a token takes with no gear in the way; ``None`` where nobody measured it."""
        return self.plain_read_s / self.plain_read_tokens if self.plain_read_tokens else None

    @property
    def write_s(self) -> float | None:
        """The same of writing a token."""
        return self.plain_written_s / self.plain_written_tokens if self.plain_written_tokens else None


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
    end: datetime | None = None
    """Known of an overview's."""
    totals: Totals
    latency: Latency
    work: Work = Work()
    precisions: Mapping[str, int] = field(default_factory=dict)
    """Runs by precision; known of an overview's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationStats:
    """What one configuration did."""

    configuration: Configuration
    totals: Totals
    latency: Latency
    work: Work = Work()

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
class KindStats:
    """What the runs of one model at one precision did on one backend, whatever their other gears."""

    backend: str
    model: str
    precision: str
    totals: Totals
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStats:
    """What runs did that have something in common, by its name."""

    name: str
    """Empty for those of which it is not known."""
    totals: Totals
    latency: Latency
    work: Work


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
