"""An experiment over every set of gears as waterfalls: one for each figure, in the unit that it is shown in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.costs.pricing import cost
from app.experiments.planning.factorial import measured_sets
from app.experiments.results.arrays import Bools, Floats, Measure, Results
from app.experiments.verdicts.waterfall import Bar, Waterfall, WaterfallFigure, waterfall

_MIB = 2**20
_REQUESTS = 1_000
"""That a cost is told of: one request's is too little to read."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How a figure is written."""

    title: str
    unit: str
    scale: float
    """What values are multiplied with for the unit."""

    def number(self, value: float) -> str:
        """A value with three significant digits, none of its whole part dropped: "0.0563", "1,130"."""
        scaled = abs(value * self.scale)
        text = f"{scaled:,.0f}" if scaled >= 999.5 else f"{scaled:.3g}"
        return f"−{text}" if value < 0 and text != "0" else text

    def change(self, value: float) -> str:
        """A change with its sign: "+12.5", "−0.0318"."""
        return f"+{self.number(value)}" if value >= 0 else self.number(value)

    def range(self, bar: Bar) -> str:
        """The 95 % interval of a gear's change; empty where the prompts show no spread."""
        if bar.interval is None:
            return ""
        return f"{self.change(bar.interval.low)} to {self.change(bar.interval.high)}"


def shown(figure: WaterfallFigure, currency: str) -> Shown:
    """How a figure is written, money in a currency."""
    return {
        WaterfallFigure.E2E: Shown("E2E, mean", "s", 1.0),
        WaterfallFigure.TTFT: Shown("TTFT, mean", "ms", 1000.0),
        WaterfallFigure.MEMORY: Shown("Memory: weights and KV", "MiB", 1 / _MIB),
        WaterfallFigure.COST: Shown(f"Cost of {_REQUESTS:,} requests", currency, float(_REQUESTS)),
        WaterfallFigure.QUALITY: Shown("Quality", "% right", 100.0),
    }[figure]


def gear_waterfalls(results: Results, among: Bools, per_hour: float) -> tuple[Waterfall, ...]:
    """All figures that were measured with every set of gears; none where the experiment is no such one. Gears stand in
    the order of the first figure, the largest change first, in all of them.

    Args:
        results: of the experiment.
        among: the prompts that are looked at, ``[prompts]``.
        per_hour: the machine's price; the cost of a request is the price of its E2E alone.
    """
    sets, found = measured_sets(results.design.configurations), list[Waterfall]()
    groups = np.array(results.groups)[among]
    for figure, values in _measured(results, per_hour).items() if sets else ():
        measured = {gears: values[place][among] for gears, place in sets.items()}
        known = np.all([np.isfinite(each) for each in measured.values()], axis=0)
        if figure is WaterfallFigure.QUALITY:
            known &= results.answered_by(*sets.values())[among]
            measured = {gears: each[known] for gears, each in measured.items()}
        if known.any():
            labels = groups[known] if figure is WaterfallFigure.QUALITY else groups
            order = [bar.gear for bar in found[0].bars] if found else []
            found.append(waterfall(measured, figure, labels, order=order))
    return tuple(found)


def alarms_of(found: Sequence[Waterfall]) -> tuple[str, ...]:
    """What is told of gears that get in each other's way. Cost is a multiple of E2E, and has nothing of its own to
    tell."""
    return tuple(alarm.text for each in found if each.figure is not WaterfallFigure.COST for alarm in each.alarms)


def interactions_of(found: Sequence[Waterfall]) -> tuple[str, ...]:
    """What is told of gears that do something else together; likewise."""
    return tuple(one.text for each in found if each.figure is not WaterfallFigure.COST for one in each.interactions)


def _measured(results: Results, per_hour: float) -> dict[WaterfallFigure, Floats]:
    """Of each figure ``[configurations, prompts]``."""
    figures = {
        WaterfallFigure.E2E: results.e2e_s,
        WaterfallFigure.TTFT: results.ttft_s,
        WaterfallFigure.MEMORY: results.weights_bytes + results.kv_bytes,
    }
    has_server = any(tier.is_remote for each in results.design.configurations for tier in each.config.ladder)
    if per_hour > 0 and not has_server:  # a server's time is not this machine's
        figures[WaterfallFigure.COST] = results.e2e_s * cost(per_hour, 1.0)
    scores = results.scores(Measure.CHECKER)
    return figures | ({} if np.isnan(scores).all() else {WaterfallFigure.QUALITY: scores})
