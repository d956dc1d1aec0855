"""What each gear changes, as a part of a report."""

from __future__ import annotations

from collections.abc import Sequence

from app import units
from app.experiments.verdicts.gears import Shown, alarms_of, interactions_of, shown
from app.experiments.verdicts.waterfall import Bar, Waterfall
from app.reports.report import Chart, Section, Table, Value


def gears_section(found: Sequence[Waterfall], currency: str) -> Section | None:
    """A waterfall for each figure, with who gets in whose way and who does something else beside another; ``None``
    without any.

    Args:
        found: of one experiment.
        currency: of costs.
    """
    if not found:
        return None
    prompts = units.counted(min(each.prompts for each in found), "prompt")
    acting = [("Alarm", text) for text in alarms_of(found)] + [("Interaction", text) for text in interactions_of(found)]
    method = (
        "What a gear changes is its Shapley value: the mean of what it changes over all orders in which the gears can "
        f"be turned on, with 95 % intervals over {prompts} at least."
    )
    return Section(
        title="Each gear",
        text=method if acting else f"{method} No two gears are shown to act on each other.",
        charts=tuple(_chart(each, shown(each.figure, currency)) for each in found),
        tables=(
            _changes(found, currency),
            *([Table(headers=("Two gears", "What was measured"), rows=tuple(acting))] if acting else []),
        ),
    )


def _chart(found: Waterfall, how: Shown) -> Chart:
    def whole(name: str, value: float) -> Value:
        return Value(name, value * how.scale, f"{how.number(value)} {how.unit}")

    def step(bar: Bar) -> Value:
        start, interval = bar.start * how.scale, bar.interval
        low, high = (start + interval.low * how.scale, start + interval.high * how.scale) if interval else (None, None)
        return Value(bar.gear, bar.end * how.scale, f"{how.change(bar.change)} {how.unit}", low, high, start)

    left_out = f"{units.counted(found.left_out, 'prompt')} without this figure left out." if found.left_out else ""
    return Chart(
        title=how.title,
        unit=how.unit,
        values=(whole("no gears", found.baseline), *map(step, found.bars), whole("all on", found.total)),
        note=left_out,
    )


def _changes(found: Sequence[Waterfall], currency: str) -> Table:
    """Every change with its interval, a line a figure."""
    rows = []
    for each in found:
        how = shown(each.figure, currency)
        rows.append((f"{how.title} ({how.unit})", *(_written(how, bar) for bar in each.bars)))
    headers = ("Figure", *(bar.gear for bar in found[0].bars))
    return Table(title="What each gear changes, with 95 % intervals", headers=headers, rows=tuple(rows))


def _written(how: Shown, bar: Bar) -> str:
    interval = how.range(bar)
    return f"{how.change(bar.change)} ({interval})" if interval else how.change(bar.change)
