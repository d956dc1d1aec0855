"""Figures over groups of rows: counts, percentiles, what the gears did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from app.store.runs.figures import Latency, Percentiles, Totals, Work
from app.store.runs.rollups.histogram import BINS, Floats, Ints, percentile
from app.store.runs.rollups.parts import AMOUNTS, COUNTS, KINDS, PEAKS, TIMES, Parts

_SHARES = (0.5, 0.9, 0.99)
_OF_TOTALS = {field.name for field in fields(Totals)}
_OF_WORK = {field.name for field in fields(Work)}


@dataclass(frozen=True, slots=True)
class Sums:
    """Of some groups, in one order."""

    counts: Ints
    """``[groups, COUNTS]``."""
    amounts: Floats
    """``[groups, AMOUNTS]``."""
    peaks: Floats
    """``[groups, PEAKS]``; NaN where none was measured."""
    times: Ints
    """``[groups, KINDS, BINS]``."""
    tallies: Sequence[Mapping[str, Mapping[str, int]]]
    """Of each group, by subject and name."""

    @classmethod
    def of(cls, parts: Parts, groups: Ints, number: int) -> Self:
        """Add up rows.

        Args:
            parts: the rows.
            groups: which group each belongs to, 0 to ``number`` − 1, ``[rows]``.
            number: of groups.
        """
        counts = np.zeros((number, len(COUNTS)), dtype=np.int64)
        np.add.at(counts, groups, parts.counts)
        amounts = np.zeros((number, len(AMOUNTS)))
        np.add.at(amounts, groups, parts.amounts)
        peaks = np.full((number, len(PEAKS)), np.nan)
        np.fmax.at(peaks, groups, parts.peaks)
        row, kind, place, count = parts.times.T
        places = (groups[row] * KINDS + kind) * BINS + place
        times = np.bincount(places, count, minlength=number * KINDS * BINS).astype(np.int64)
        tallies: list[dict[str, dict[str, int]]] = [{} for _ in range(number)]
        for each in parts.tallies:
            names = tallies[int(groups[each.row])].setdefault(each.subject, {})
            names[each.name] = names.get(each.name, 0) + each.runs
        return cls(counts, amounts, peaks, times.reshape(number, KINDS, BINS), tallies)

    def totals(self) -> list[Totals]:
        """Each group's counts."""
        return [Totals(**_named(figures, _OF_TOTALS)) for figures in self._figures()]

    def works(self) -> list[Work]:
        """What each group's runs took and what the gears did."""
        return [
            Work(**_named(figures, _OF_WORK), errors=tallies.get("error", {}), tiers=tallies.get("tier", {}))
            for figures, tallies in zip(self._figures(), self.tallies, strict=True)
        ]

    def _figures(self) -> list[dict[str, Any]]:
        names = (*COUNTS, *AMOUNTS, *PEAKS)
        return [
            dict(zip(names, (*counts.tolist(), *amounts.tolist(), *map(_whole, peaks)), strict=True))
            for counts, amounts, peaks in zip(self.counts, self.amounts, self.peaks, strict=True)
        ]

    def latencies(self, *, with_disturbed: bool) -> list[Latency]:
        """Each group's percentiles, to 1 %."""
        quiet, disturbed = self.times[:, : len(TIMES)], self.times[:, len(TIMES) :]
        times = quiet + disturbed if with_disturbed else quiet
        found = {name: _percentiles(times[:, place]) for place, name in enumerate(TIMES)}
        left_out = self.counts[:, COUNTS.index("disturbed")] * (not with_disturbed)
        return [
            Latency(left_out=int(left_out[group]), **{name: each[group] for name, each in found.items()})
            for group in range(len(times))
        ]


def _named(figures: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name in names}


def _percentiles(counts: Ints) -> list[Percentiles]:
    values = [[None if math.isnan(each) else float(each) for each in percentile(counts, share)] for share in _SHARES]
    return [Percentiles(*each) for each in zip(*values, strict=True)]


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)
