"""What each gear changes, as a part of a report."""

from __future__ import annotations

from collections.abc import Sequence

from app import units
from app.experiments.verdicts.gears import alarms_of, interactions_of, shown
from app.experiments.verdicts.waterfall import Bar, Waterfall
from app.reports.report import Chart, Section, Value


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
    said = [*(f"Alarm: {text}" for text in alarms_of(found)), *interactions_of(found)]
    method = (
        "What a gear changes is its Shapley value: the mean of what it changes over all orders in which the gears can "
        f"be turned on, with 95 % intervals over {prompts} at least."
    )
    return Section(
        title="Each gear",
        text=" ".join([*said, method]) if said else f"No two gears are shown to act on each other. {method}",
        charts=tuple(_chart(each, currency) for each in found),
    )


def _chart(found: Waterfall, currency: str) -> Chart:
    how = shown(found.figure, currency)

    def whole(name: str, value: float) -> Value:
        return Value(name, value * how.scale, f"{value * how.scale:,.3g}")

    def step(bar: Bar) -> Value:
        start, end, change = bar.start * how.scale, bar.end * how.scale, f"{bar.change * how.scale:+,.3g}"
        if bar.interval is None:
            return Value(bar.gear, end, change, start=start)
        low, high = bar.interval.low * how.scale, bar.interval.high * how.scale
        return Value(bar.gear, end, f"{change} ({low:+,.3g} to {high:+,.3g})", start + low, start + high, start)

    left_out = f"{units.counted(found.left_out, 'prompt')} without this figure left out." if found.left_out else ""
    return Chart(
        title=how.title,
        unit=how.unit,
        values=(whole("no gears", found.baseline), *map(step, found.bars), whole("all on", found.total)),
        note=left_out,
    )
