"""Sums over groups of runs, from their rows or from sums of parts of them.

Durations are seconds; sizes are bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from app.store.runs.figures import Latency, Percentiles, Totals
from app.store.runs.records import RunStatus
from app.store.runs.rollups.histogram import BINS, Floats, Ints, bins_of, percentile

TOKENS = (
    "prompt_tokens", "cached_tokens", "completion_tokens", "drafted_tokens", "accepted_tokens", "discarded_tokens",
)  # fmt: skip
"""Columns of runs that are summed."""
COUNTS = ("runs", *map(str, RunStatus), "disturbed", *TOKENS)
"""What is counted or summed, by its column in `RunRollup`."""
PEAKS = ("weights_bytes", "kv_bytes", "peak_rss_bytes")
"""Columns of which the greatest is kept."""
TIMES = ("ttft_s", "tpot_s", "e2e_s")
"""Columns of which finished runs' histograms are kept: those of undisturbed runs first, then those of disturbed."""
_PACKED = np.dtype([("time", "u1"), ("bin", "<u2"), ("count", "<u4")])


@dataclass(frozen=True, slots=True)
class Sums:
    """Of some groups, in one order."""

    counts: Mapping[str, Ints]
    """Each of `COUNTS`, ``[groups]``."""
    peaks: Mapping[str, Floats]
    """Each of `PEAKS`, ``[groups]``; NaN where none was measured."""
    times: Ints
    """``[groups, 2 × TIMES, BINS]``."""

    @classmethod
    def of_runs(cls, rows: Sequence[Any], groups: Ints, number: int) -> Self:
        """Sum up runs.

        Args:
            rows: with a run's ``status``, ``disturbed`` and the columns `TOKENS`, `PEAKS` and `TIMES` each.
            groups: which group each belongs to, 0 to ``number`` − 1, ``[rows]``.
            number: of groups.
        """
        status = np.array([row.status for row in rows], dtype=str)
        finished = status == str(RunStatus.FINISHED)
        disturbed = np.array([row.disturbed is True for row in rows], dtype=bool)

        def count(among: Any) -> Ints:
            return np.bincount(groups[among], minlength=number).astype(np.int64)

        counts = {"runs": count(slice(None)), "disturbed": count(finished & disturbed)}
        counts |= {str(each): count(status == str(each)) for each in RunStatus}
        for name in TOKENS:
            values = np.array([getattr(row, name) or 0 for row in rows], dtype=np.float64)
            counts[name] = np.bincount(groups, values, minlength=number).astype(np.int64)
        peaks = {name: _greatest(_numbers(rows, name), groups, number) for name in PEAKS}
        times = np.zeros((number, 2 * len(TIMES), BINS), dtype=np.int64)
        for place, name in enumerate(TIMES):
            values = _numbers(rows, name)
            counted = finished & ~np.isnan(values)
            place_of = place + len(TIMES) * disturbed[counted]
            np.add.at(times, (groups[counted], place_of, bins_of(values[counted])), 1)
        return cls(counts, peaks, times)

    @classmethod
    def of_rollups(
        cls, rows: Sequence[Any], groups: Ints, packed: Sequence[bytes], groups_of_packed: Ints, number: int
    ) -> Self:
        """Put together what was summed up.

        Args:
            rows: with `COUNTS` and `PEAKS`.
            groups: which group each belongs to, 0 to ``number`` − 1, ``[rows]``.
            packed: histograms, as `to_rows` packs them.
            groups_of_packed: which group each of them belongs to, ``[packed]``.
            number: of groups.
        """
        counts = {}
        for name in COUNTS:
            values = np.array([int(getattr(row, name)) for row in rows], dtype=np.int64)  # PostgreSQL's are Decimals
            counts[name] = np.zeros(number, dtype=np.int64)
            np.add.at(counts[name], groups, values)
        peaks = {name: _greatest(_numbers(rows, name), groups, number) for name in PEAKS}
        found = np.frombuffer(b"".join(packed), dtype=_PACKED)
        kinds = 2 * len(TIMES)
        of_each = np.repeat(groups_of_packed, [len(each) // _PACKED.itemsize for each in packed])
        places = (of_each * kinds + found["time"]) * BINS + found["bin"]
        times = np.bincount(places, found["count"], minlength=number * kinds * BINS).astype(np.int64)
        return cls(counts, peaks, times.reshape(number, kinds, BINS))

    def with_more(self, other: Sums) -> Sums:
        """Both together, group by group."""
        return Sums(
            {name: self.counts[name] + other.counts[name] for name in COUNTS},
            {name: np.fmax(self.peaks[name], other.peaks[name]) for name in PEAKS},
            self.times + other.times,
        )

    def to_rows(self) -> list[dict[str, Any]]:
        """Each group's columns of `RunRollup` but its key."""
        return [{**self._figures(group), "histograms": _pack(times)} for group, times in enumerate(self.times)]

    def totals(self) -> list[Totals]:
        """Each group's counts."""
        return [Totals(**self._figures(group)) for group in range(len(self.times))]

    def _figures(self, group: int) -> dict[str, Any]:
        counts = {name: int(self.counts[name][group]) for name in COUNTS}
        return {**counts, **{name: _whole(self.peaks[name][group]) for name in PEAKS}}

    def latencies(self, *, with_disturbed: bool) -> list[Latency]:
        """Each group's percentiles."""
        quiet, disturbed = self.times[:, : len(TIMES)], self.times[:, len(TIMES) :]
        times = quiet + disturbed if with_disturbed else quiet
        found = {name: _percentiles(times[:, place]) for place, name in enumerate(TIMES)}
        left_out = np.zeros_like(self.counts["disturbed"]) if with_disturbed else self.counts["disturbed"]
        return [
            Latency(left_out=int(left_out[group]), **{name: each[group] for name, each in found.items()})
            for group in range(len(times))
        ]


def _numbers(rows: Sequence[Any], name: str) -> Floats:
    """NaN where there is none."""
    return np.array([getattr(row, name) for row in rows], dtype=np.float64)


def _greatest(values: Floats, groups: Ints, number: int) -> Floats:
    found = np.full(number, np.nan)
    np.fmax.at(found, groups, values)
    return found


def _percentiles(counts: Ints) -> list[Percentiles]:
    values = [[None if math.isnan(each) else float(each) for each in percentile(counts, share)] for share in _SHARES]
    return [Percentiles(*each) for each in zip(*values, strict=True)]


_SHARES = (0.5, 0.9, 0.99)


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)


def _pack(times: Ints) -> bytes:
    kinds, bins = np.nonzero(times)
    packed = np.empty(len(kinds), dtype=_PACKED)
    packed["time"], packed["bin"], packed["count"] = kinds, bins, times[kinds, bins]
    return packed.tobytes()
