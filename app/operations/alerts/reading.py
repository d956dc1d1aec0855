"""What rules look at, read once a round however many rules ask for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from app.quantization.degradation import Alarms
from app.store import Counted, Figure, Metric, Moments, Objective, RunFilter, RunStore, Scope, Tally

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time."""

    since: datetime
    until: datetime
    stays: bool = False
    """Whether it is the same in the next round; else it moves with time."""

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.until - self.since


@dataclass(slots=True)
class Readings:
    """Of one round.

    Every method raises `StoreError` where the run database cannot be read.
    """

    store: RunStore
    now: datetime
    folder: Path
    """On the disk that is watched."""
    _read: dict[Hashable, object] = field(default_factory=dict)

    def last(self, length: timedelta) -> Span:
        """A stretch of time that ends now."""
        return Span(self.now - length, self.now)

    def tally(self, scope: Scope, span: Span) -> Tally:
        """What runs of a scope did."""
        return self._once("tally", scope, span, self.store.objectives.tally)

    def count(self, objective: Objective, span: Span) -> Counted:
        """Requests by an objective."""
        return self.figure_count(objective.metric, objective.limit_s, objective.scope, span)

    def figure_count(self, metric: Metric, limit_s: float | None, scope: Scope, span: Span) -> Counted:
        """Requests that are slower than a limit, failed, or got a wrong answer."""

        def read(filter: RunFilter) -> Counted:
            return self.store.objectives.count(metric, limit_s, filter)

        return self._once(("count", metric, limit_s), scope, span, read)

    def stale(self, scope: Scope, span: Span) -> Counted:
        """Runs whose reused KV was found to be wrong."""
        return self._once("stale", scope, span, self.store.objectives.stale)

    def degraded(self, scope: Scope, span: Span) -> Counted:
        """Runs at a precision that is beyond the degradation alarm's limits."""
        used = self._once("precisions", scope, span, self.store.objectives.precisions)
        alarms = self._alarms()
        bad = sum(use.runs for use in used if alarms.of_model(use.model, use.backend, use.precision))
        return Counted(bad, sum(use.runs for use in used))

    def measured(self, figure: Figure, scope: Scope, span: Span, limit: float) -> Counted | Moments:
        """A figure over a stretch of time.

        Args:
            figure: neither burn rates nor the disk.
            scope: of which runs.
            span: when they started.
            limit: of a latency, in seconds: runs that take longer are counted.
        """
        match figure:
            case Figure.TTFT | Figure.TPOT | Figure.E2E:
                return self.figure_count(Metric(figure), limit, scope, span)
            case Figure.ERRORS | Figure.QUALITY:
                return self.figure_count(Metric(figure), None, scope, span)
            case Figure.STALE:
                return self.stale(scope, span)
            case Figure.DEGRADED:
                return self.degraded(scope, span)
        found = self.tally(scope, span)
        of_tally: dict[Figure, Counted | Moments] = {
            Figure.HIT_RATE: found.cached,
            Figure.ACCEPTANCE: found.accepted,
            Figure.ESCALATIONS: found.went_up,
            Figure.REPETITION: found.repeating,
        }
        return of_tally[figure]

    def disk(self) -> tuple[float, int]:
        """Share of the disk in use, and bytes free to use; of a folder that is not there, as if it were empty."""
        try:
            usage = shutil.disk_usage(self.folder)
        except OSError:
            return 0.0, 0
        return usage.used / max(1, usage.used + usage.free), usage.free

    def _alarms(self) -> Alarms:
        return self._remembered("alarms", "alarms", lambda: Alarms.read(self.store.lab))

    def _once(self, what: Hashable, scope: Scope, span: Span, read: Callable[[RunFilter], _T]) -> _T:
        # what moves with time is remembered from one round to the next by how long ago it was
        when = span if span.stays else (span.length, self.now - span.until)
        filter = scope.runs(span.since, span.until)
        return self._remembered((what, scope, span), (what, scope, when), lambda: read(filter))

    def _remembered(self, key: Hashable, key_of_rounds: Hashable, read: Callable[[], _T]) -> _T:
        if key not in self._read:
            self._read[key] = self.store.objectives.memo.get(key_of_rounds, self.now, read)
        found: _T = self._read[key]  # type: ignore[assignment]
        return found
