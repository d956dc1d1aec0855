"""How figures of whole configurations are called, written, and set against each other."""

from __future__ import annotations

from dataclasses import dataclass

from app import units
from app.experiments.comparing.compared import Change, Compared, Share, Typical
from app.experiments.comparing.shared import TIMES, Quantity
from app.views.reports.metrics import COMPLETION_TOKENS, E2E, KV, RUN_MEMORY, TPOT, TTFT, Metric
from app.views.shared.charts import Bar

_METRICS = {
    Quantity.E2E: E2E,
    Quantity.TTFT: TTFT,
    Quantity.TPOT: TPOT,
    Quantity.ANSWER_TOKENS: COMPLETION_TOKENS,
    Quantity.MEMORY: RUN_MEMORY,
    Quantity.KV: KV,
}
_SHARES = {
    Share.QUALITY: "Quality, right by a checker",
    Share.SAME_TEXT: "Same text as the baseline's",
    Share.WORD_F1: "Word F1 to the baseline's answer",
}
_THE_SAME = 0.005
"""A share below which an amount is called the same."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a comparison, in words."""

    compared: Compared

    @property
    def label(self) -> str:
        """What it is."""
        of = self.compared.figure
        return _SHARES[of] if isinstance(of, Share) else _METRICS[of].label

    @property
    def title(self) -> str:
        """Of its chart: what it is, and what is better."""
        of = self.compared.figure
        better = "" if of is Quantity.ANSWER_TOKENS else f", {'more' if isinstance(of, Share) else 'less'} is better"
        return f"{self.label}{better}"

    @property
    def unit(self) -> str:
        """Of its chart's axis."""
        of = self.compared.figure
        what = "mean" if isinstance(of, Share) else "median"
        unit = "%" if isinstance(of, Share) else _METRICS[of].unit or "tokens"
        return f"{unit}, {what} with 95 % interval"

    def written(self, place: int) -> str:
        """The typical value of a configuration, with its unit."""
        value = self.compared.typical[place].value
        of = self.compared.figure
        if isinstance(of, Share):
            return units.percent(value, 1)
        return units.tokens(value) if of is Quantity.ANSWER_TOKENS else _METRICS[of].write(value)

    def against(self, place: int) -> str:
        """How a configuration differs from the first; empty for the first itself."""
        if place == 0:
            return ""
        change, of = self.compared.changes[place - 1], self.compared.figure
        if isinstance(of, Share):
            return _points(change)
        return _times(change) if of in TIMES else _amount(change)

    def bar(self, name: str, place: int) -> Bar:
        """A configuration's bar."""
        typical, per = self.compared.typical[place], self._per_unit()
        low, high = _ends(typical)
        text = " · ".join(filter(None, (self.written(place), self.against(place))))
        return Bar(name, typical.value / per, text, low and low / per, high and high / per)

    def _per_unit(self) -> float:
        of = self.compared.figure
        return 0.01 if isinstance(of, Share) else _metric(of).per_unit


def _metric(quantity: Quantity) -> Metric:
    return _METRICS[quantity]


def _ends(typical: Typical) -> tuple[float | None, float | None]:
    return (typical.interval.low, typical.interval.high) if typical.interval else (None, None)


def _times(change: Change) -> str:
    slower = change.value < 1
    value = 1 / change.value if slower else change.value
    if change.interval is None:
        return "the same" if value - 1 < _THE_SAME else f"{units.ratio(value)} {'slower' if slower else 'faster'}"
    low, high = change.interval.low, change.interval.high
    spread = (high / low - 1) / 2
    if low <= 1 <= high:
        return f"no difference shown ({units.ratio(low, spread)} to {units.ratio(high, spread)} as fast)"
    if slower:
        low, high = 1 / high, 1 / low
    between = f"{units.ratio(low, spread)} to {units.ratio(high, spread)}"
    return f"{units.ratio(value, spread)} {'slower' if slower else 'faster'} ({between})"


def _amount(change: Change) -> str:
    share = 1 / change.value - 1
    if abs(share) < _THE_SAME:
        return "the same"
    return f"{units.percent(abs(share))} {'less' if share < 0 else 'more'}"


def _points(change: Change) -> str:
    if change.interval is None:
        return units.points(change.value)
    low, high = change.interval.low, change.interval.high
    return f"{units.points(change.value)} ({units.signed(100 * low)} to {units.signed(100 * high)})"
