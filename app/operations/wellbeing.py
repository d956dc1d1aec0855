"""Whether all is well: what the figures of a span say that somebody on call would look at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from app import units
from app.store import Latency, Totals, Work
from engine.types import BreakerState, RemoteStatus

_MANY_ERRORS, _SOME_ERRORS = 0.05, 0.01
_MANY_DISTURBED = 0.2
_LONG_QUEUE = 0.5
"""Of TTFT at p90, spent waiting."""


class Grade(IntEnum):
    """How bad it is."""

    WELL = 0
    WATCH = 1
    BAD = 2


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that is not as it should be."""

    grade: Grade
    words: str
    """A sentence, plain text."""


def concerns(totals: Totals, latency: Latency, work: Work) -> tuple[Concern, ...]:
    """What stands out in the figures of some runs, the worst first."""
    found = [*_errors(totals, work), *_waits(latency), *_disturbed(totals)]
    return tuple(sorted(found, key=lambda each: -each.grade))


def of_servers(servers: Sequence[RemoteStatus]) -> list[Concern]:
    """Servers that are not asked for a while, because they failed again and again."""
    found = []
    for server in servers:
        if server.state is not BreakerState.CLOSED:
            names = ", ".join(server.models) or server.server
            why = f": {server.last_error.rstrip('.')}" if server.last_error else ""
            found.append(Concern(Grade.BAD, f"{names} ({server.server}) does not answer{why}."))
    return found


def worst(found: Sequence[Concern]) -> Grade:
    """How bad the worst of them is."""
    return max((each.grade for each in found), default=Grade.WELL)


def _errors(totals: Totals, work: Work) -> list[Concern]:
    rate = totals.error_rate
    if rate is None or rate < _SOME_ERRORS:
        return []
    common = max(work.errors, key=lambda kind: work.errors[kind], default=None)
    why = f", most with {common}" if common and work.errors[common] > totals.failed / 2 else ""
    grade = Grade.BAD if rate >= _MANY_ERRORS else Grade.WATCH
    return [Concern(grade, f"{units.percent(rate, 1)} of the runs failed or were interrupted{why}.")]


def _waits(latency: Latency) -> list[Concern]:
    queue, ttft = latency.queue_s.p90, latency.ttft_s.p90
    if not queue or not ttft or queue < _LONG_QUEUE * ttft or queue < 1:
        return []
    words = f"One run in ten waits {units.seconds(queue)} or longer before it is taken up: more comes than is answered."
    return [Concern(Grade.WATCH, words)]


def _disturbed(totals: Totals) -> list[Concern]:
    share = totals.disturbed / totals.finished if totals.finished else 0.0
    if share < _MANY_DISTURBED:
        return []
    return [Concern(Grade.WATCH, f"{units.percent(share)} of the runs were slowed by something else on the machine.")]
