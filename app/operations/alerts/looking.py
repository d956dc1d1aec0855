"""Looking at rules: what each finds now, in words with its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from app import units
from app.operations.alerts.change import has_changed, is_beyond
from app.operations.alerts.gears import OF_FIGURE, suspect_of
from app.operations.alerts.reading import Readings, Span
from app.operations.alerts.rules import FIGURES, LATENCIES
from app.operations.objectives.attainment import burn_rate
from app.operations.objectives.words import objective_name, scope_name, share, stretch
from app.store import Alert, Condition, Counted, Figure, Finding, Moments, Objective, Rule

_BEFORE_A_BURN = timedelta(days=1)
"""What a burning budget's runs are compared with, to name a gear."""

Open = Mapping[tuple[str, str], Alert]
"""Alerts that are not resolved, by rule and subject."""


def look(rules: Sequence[Rule], objectives: Sequence[Objective], readings: Readings, open: Open) -> Iterator[Finding]:
    """What the rules that are on find, one by one.

    Args:
        rules: all that there are.
        objectives: what burn rates are those of.
        readings: of this round.
        open: alerts that are open: what came before them is what a change is compared with for as long as they are.

    Raises:
        StoreError: the run database cannot be read.
    """
    on = [rule for rule in rules if rule.is_on]
    for objective in objectives:
        yield from _burns([rule for rule in on if rule.figure is Figure.BURN], objective, readings, open)
    for rule in on:
        if rule.figure is Figure.BURN:
            continue
        if rule.figure is Figure.DISK:
            yield _disk(rule, readings)
        elif rule.condition.is_change:
            yield _change(rule, readings, open.get((rule.key, "")))
        else:
            yield _limit(rule, readings)


def _burns(rules: Sequence[Rule], objective: Objective, readings: Readings, open: Open) -> Iterator[Finding]:
    """Of several rates that a budget goes faster than, only the highest opens an alert: the others say less."""
    said = False
    for rule in sorted(rules, key=lambda each: each.limit, reverse=True):
        found = _burn(rule, objective, readings)
        if found.holds and said and (rule.key, objective.id) not in open:
            found = replace(found, holds=None, words=f"{found.words} A higher rate is told of already.")
        said = said or bool(found.holds)
        yield found


def _burn(rule: Rule, objective: Objective, readings: Readings) -> Finding:
    long, short = readings.last(rule.window), readings.last(rule.reference)
    counted, lately = readings.count(objective, long), readings.count(objective, short)
    rate, rate_lately = burn_rate(objective, counted), burn_rate(objective, lately)
    allowed = rule.limit * (1 - objective.target)
    holds = is_beyond(counted, Condition.ABOVE, allowed, least=rule.least)
    if holds:
        holds = None if rate_lately is None else rate_lately > rule.limit
    words = (
        f"{counted.bad:,} of {units.counted(counted.total, 'request')} in the last {stretch(rule.window)} missed it: "
        f"the error budget goes {units.mean(rate)} times as fast as it may (limit {rule.limit:g}), "
        f"{units.mean(rate_lately)} times in the last {stretch(rule.reference)}."
    )
    gear = OF_FIGURE[Figure(str(objective.metric))]
    if holds:
        before = Span(long.since - _BEFORE_A_BURN, long.since)
        suspect = suspect_of(objective.metric, objective.scope, long, before, readings)
        gear = suspect.gear
        words += f" At the same time, {suspect.why}." if suspect.why else ""
    return Finding(
        rule=rule.key,
        subject=objective.id,
        holds=holds,
        title=f"{rule.name}: {objective_name(objective)}",
        words=words,
        gear=gear,
        runbook=rule.runbook,
        scope=objective.scope,
        since=long.since,
        until=long.until,
    )


def _disk(rule: Rule, readings: Readings) -> Finding:
    used, free = readings.disk()
    words = f"The disk of {readings.folder} is {units.percent(used)} full: {units.memory(free)} left."
    return _finding(rule, used > rule.limit, words, readings.last(rule.window))


def _limit(rule: Rule, readings: Readings) -> Finding:
    span = readings.last(rule.window)
    measured = readings.measured(rule.figure, rule.scope, span, rule.limit)
    if rule.figure is Figure.STALE and isinstance(measured, Counted):
        holds = measured.bad > rule.limit if measured.total >= rule.least else None
        words = (
            f"The reused KV of {measured.bad:,} of {units.counted(measured.total, 'verified run')} in the last "
            f"{stretch(rule.window)} gave other logits than computed anew."
        )
        return _finding(rule, holds, words, span)
    limit = 1 - rule.percentile if rule.figure in LATENCIES else rule.limit
    holds = is_beyond(measured, rule.condition, limit, least=rule.least)
    said = _said(rule, measured)
    if rule.figure in LATENCIES:
        words = (
            f"{said} in the last {stretch(rule.window)} took longer than {units.seconds(rule.limit)}: p"
            f"{rule.percentile * 100:.4g} is above it."
        )
    else:
        words = f"{said} in the last {stretch(rule.window)} (limit: {rule.condition} {_plain(rule, rule.limit)})."
    return _finding(rule, holds, words, span)


def _change(rule: Rule, readings: Readings, alert: Alert | None) -> Finding:
    span = readings.last(rule.window)
    stays = alert is not None and alert.runs_since <= span.since
    until = alert.runs_since if alert is not None and stays else span.since
    before = Span(until - rule.reference, until, stays)
    recent, earlier = (readings.measured(rule.figure, rule.scope, each, rule.limit) for each in (span, before))
    holds = has_changed(recent, earlier, rule.condition, rule.limit, least=rule.least)
    words = (
        f"{_said(rule, recent)} in the last {stretch(rule.window)}, against {_said(rule, earlier, named=False)} in the "
        f"{stretch(rule.reference)} before."
    )
    return _finding(rule, holds, words, span)


def _finding(rule: Rule, holds: bool | None, words: str, span: Span) -> Finding:
    return Finding(
        rule=rule.key,
        holds=holds,
        title=f"{rule.name}{scope_name(rule.scope)}",
        words=words,
        gear=OF_FIGURE[rule.figure],
        runbook=rule.runbook,
        scope=rule.scope,
        since=span.since,
        until=span.until,
    )


def _said(rule: Rule, measured: Counted | Moments, *, named: bool = True) -> str:
    """A figure with how many runs it is of."""
    name = f"{FIGURES[rule.figure]} " if named else ""
    if isinstance(measured, Counted):
        return f"{name}{share_of(measured.share)} ({measured.bad:,} of {units.counted(measured.total, 'run')})"
    return f"{name}{_plain(rule, measured.ratio)} ({units.counted(measured.runs, 'run')})"


def _plain(rule: Rule, value: float | None) -> str:
    if rule.figure is not Figure.ACCEPTANCE:
        return share_of(value)
    return units.tokens(value)


def share_of(value: float | None) -> str:
    """A share with one digit after the point where it is small."""
    return share(None if value is None else round(value, 3))


def window_words(rule: Rule) -> str:
    """When a rule fires, in a few words for a list."""
    name, window = FIGURES[rule.figure], stretch(rule.window)
    match rule.figure:
        case Figure.BURN:
            return f"Burn rate above {rule.limit:g}× over {window} and {stretch(rule.reference)}"
        case Figure.TTFT | Figure.TPOT | Figure.E2E:
            return f"{name} p{rule.percentile * 100:.4g} above {units.seconds(rule.limit)} over {window}"
        case Figure.STALE:
            return f"More than {rule.limit:g} verified runs that differ over {window}"
        case Figure.DISK:
            return f"{name} above {share(rule.limit)}"
    if rule.condition.is_change:
        by = f" by more than {share(rule.limit)}"
        return f"{name}: {rule.condition}{by}, {window} against the {stretch(rule.reference)} before"
    limit = f"{rule.limit:g}" if rule.figure is Figure.ACCEPTANCE else share(rule.limit)
    return f"{name} {rule.condition} {limit} over {window}"
