"""Which gear to look at first: what an alert is about says it, or what else changed at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app import units
from app.operations.alerts.change import has_changed
from app.operations.alerts.reading import Readings, Span
from app.store import Condition, Counted, Figure, Gear, Metric, Moments, Scope, Tally

OF_FIGURE = {
    Figure.BURN: Gear.MACHINE,
    Figure.ERRORS: Gear.MACHINE,
    Figure.TTFT: Gear.MACHINE,
    Figure.TPOT: Gear.MACHINE,
    Figure.E2E: Gear.MACHINE,
    Figure.QUALITY: Gear.PRECISION,
    Figure.HIT_RATE: Gear.KV_CACHE,
    Figure.ACCEPTANCE: Gear.SPECULATION,
    Figure.ESCALATIONS: Gear.CASCADE,
    Figure.REPETITION: Gear.PRECISION,
    Figure.DEGRADED: Gear.PRECISION,
    Figure.STALE: Gear.KV_CACHE,
    Figure.DISK: Gear.MACHINE,
}
"""Unless something else speaks for another one."""
_FEWEST = 20
_BY = 0.2
_DISTURBED = 0.2


@dataclass(frozen=True, slots=True)
class Suspect:
    """A gear, and what speaks for it; nothing where it is a guess by what the alert is about."""

    gear: Gear
    why: str = ""


def suspect_of(metric: Metric, scope: Scope, span: Span, before: Span, readings: Readings) -> Suspect:
    """What changed at the same time as a latency or the quality did, the likeliest cause first.

    Args:
        metric: that does not keep its promise.
        scope: of which runs.
        span: when it does not.
        before: what is compared with.
        readings: of this round.

    Raises:
        StoreError: the run database cannot be read.
    """
    usual = OF_FIGURE[Figure(str(metric))]
    if metric is Metric.ERRORS:
        return Suspect(usual)
    found = _changes(metric, readings.tally(scope, span), readings.tally(scope, before))
    return next(found, Suspect(usual))


def _changes(metric: Metric, now: Tally, then: Tally) -> Iterator[Suspect]:
    if metric is Metric.QUALITY:
        if _changed(now.repeating, then.repeating, Condition.RISES):
            yield _suspect(Gear.PRECISION, "answers that repeat themselves rose", now.repeating, then.repeating)
        if _changed(now.went_up, then.went_up, Condition.FALLS):
            yield _suspect(Gear.CASCADE, "the escalation share fell", now.went_up, then.went_up)
        return
    if now.disturbed.total >= _FEWEST and (now.disturbed.share or 0) >= _DISTURBED:
        yield Suspect(Gear.MACHINE, f"{units.percent(now.disturbed.share)} of the runs were disturbed by others")
    if metric is not Metric.TPOT and _changed(now.cached, then.cached, Condition.FALLS):
        yield _suspect(Gear.KV_CACHE, "the prefix hit rate fell", now.cached, then.cached)
    if metric is not Metric.TTFT and _changed(now.accepted, then.accepted, Condition.FALLS):
        yield _suspect(Gear.SPECULATION, "the acceptance length fell", now.accepted, then.accepted)
    if _changed(now.went_up, then.went_up, Condition.RISES):
        yield _suspect(Gear.CASCADE, "the escalation share rose", now.went_up, then.went_up)


def _changed(now: Counted | Moments, then: Counted | Moments, how: Condition) -> bool:
    return bool(has_changed(now, then, how, _BY, least=_FEWEST))


def _suspect(gear: Gear, what: str, now: Counted | Moments, then: Counted | Moments) -> Suspect:
    is_share = isinstance(now, Counted) or gear is Gear.KV_CACHE
    words = units.percent if is_share else units.mean
    return Suspect(gear, f"{what} from {words(_plain(then))} to {words(_plain(now))}")


def _plain(measured: Counted | Moments) -> float | None:
    return measured.share if isinstance(measured, Counted) else measured.ratio
