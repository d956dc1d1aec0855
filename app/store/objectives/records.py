"""What the objectives' side of the store hands out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.store.runs.records import WITHOUT_LABS, RunFilter, RunSource


class Metric(StrEnum):
    """What an objective promises something of."""

    TTFT = "ttft"
    TPOT = "tpot"
    E2E = "e2e"
    ERRORS = "errors"
    QUALITY = "quality"

    @property
    def is_latency(self) -> bool:
        """Whether it is a time, with a limit in seconds."""
        return self in LATENCIES


LATENCIES = (Metric.TTFT, Metric.TPOT, Metric.E2E)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which runs are meant. Without a source, those of all but the labs and the experiments."""

    model: str | None = None
    source: RunSource | None = None
    config_hash: str | None = None

    def runs(self, since: datetime | None, until: datetime | None) -> RunFilter:
        """Those started from ``since`` to before ``until``."""
        return RunFilter(
            models=(self.model,) if self.model else (),
            sources=(self.source,) if self.source else WITHOUT_LABS,
            config_hashes=(self.config_hash,) if self.config_hash else (),
            since=since,
            until=until,
        )


ALL_TRAFFIC = Scope()


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A service level objective: so large a share of the requests meets a limit."""

    id: str
    metric: Metric
    limit_s: float | None
    """Of a latency: at most so many seconds; ``None`` of errors and quality."""
    target: float
    """The share of requests that is to meet it: 0.95 of a latency is its p95; 0.99 of errors is 1 % that may fail."""
    window_days: int
    """Over how long it is judged."""
    scope: Scope = ALL_TRAFFIC
    created_at: datetime

    @property
    def window(self) -> timedelta:
        """The same as a stretch of time."""
        return timedelta(days=self.window_days)


@dataclass(frozen=True, slots=True)
class Counted:
    """Requests of which one can tell, and those among them that break the promise."""

    bad: int
    total: int

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.bad + other.bad, self.total + other.total)

    @property
    def share(self) -> float | None:
        """Of the bad ones; ``None`` without any request."""
        return self.bad / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over runs of two figures of each, x and y: their ratio Σx/Σy, and how far chance may move it."""

    runs: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    @property
    def ratio(self) -> float | None:
        """Σx/Σy; ``None`` without any y."""
        return self.x / self.y if self.y else None

    @property
    def variance(self) -> float | None:
        """Of the ratio, with each run as one piece of evidence (Cochran, Sampling Techniques, 2.11); ``None`` with
        fewer than two runs."""
        ratio = self.ratio
        if ratio is None or self.runs < 2:
            return None
        residual = max(0.0, self.xx - 2 * ratio * self.xy + ratio**2 * self.yy)
        return residual * self.runs / (self.runs - 1) / self.y**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the runs of a stretch of time did, summed by the database."""

    errors: Counted
    """Failed and interrupted runs, of those that finished or broke."""
    cached: Moments
    """Tokens of the prompt that were kept, over all of it."""
    accepted: Moments
    """Tokens that verification steps gave, the model's own included, over the steps: the acceptance length."""
    went_up: Counted
    """Answered by the largest tier, of the cascades' runs of which that is known."""
    repeating: Counted
    """Answers that repeat themselves, of those long enough to tell."""
    disturbed: Counted
    """Held up by others, of those that finished."""


@dataclass(frozen=True, slots=True)
class PrecisionUse:
    """How many runs a model answered at one precision."""

    model: str
    backend: str
    precision: str
    runs: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Counts of one stretch of time."""

    start: datetime
    counted: Counted = field(default=Counted(0, 0))
