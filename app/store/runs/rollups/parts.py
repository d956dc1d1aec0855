"""Sums over runs in columns: a row for each kind of run in each stretch of time, from single runs or from such rows.

Durations are seconds; sizes are bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from app.store.runs.records import RunStatus
from app.store.runs.rollups.histogram import Floats, Ints, bins_of
from engine.types import is_shared

TOKENS = (
    "prompt_tokens", "cached_tokens", "completion_tokens", "drafted_tokens", "accepted_tokens", "discarded_tokens",
    "verification_steps",
)  # fmt: skip
"""Columns of runs that are summed."""
COUNTS = (
    "runs", *map(str, RunStatus), "disturbed", *TOKENS, "ended_stop", "ended_length", "batched", "shared",
    "speculated", "cascades", "went_up", "plain_read_tokens", "plain_written_tokens",
    "untold_prompt_tokens",
)  # fmt: skip
"""What is counted. Sums that were kept before a count was added at the end have 0 of it."""
AMOUNTS = (
    "batch_sizes", "busy_s", "machine_s", "plain_read_s", "plain_written_s", "alone_measured_s", "saved_measured_s",
    "alone_derived_s", "saved_derived_s", "speculation_saved_s",
)  # fmt: skip
"""What is summed and is no count."""
PEAKS = ("weights_bytes", "kv_bytes", "peak_rss_bytes")
"""Columns of which the greatest is kept."""
TIMES = ("ttft_s", "tpot_s", "e2e_s", "queue_s")
"""Columns of which finished runs' histograms are kept: those of undisturbed runs first, then those of disturbed."""
KINDS = 2 * len(TIMES)
OF_RUN = (
    "status", "disturbed", "finish_reason", "error_kind", "tier", "mean_batch_size", "prefill_s", "large_alone_s",
    "large_alone_derived", "cascade_saved_s", "speculation_saved_s", *TOKENS, *PEAKS, *TIMES,
)  # fmt: skip
"""The columns of runs that sums are made of."""

Flags = npt.NDArray[np.bool_]


class Identity(NamedTuple):
    """What runs have in common that are summed up together; empty where a run has none."""

    config_hash: str
    model: str
    backend: str
    precision: str
    source: str
    key_name: str


class Tally(NamedTuple):
    """So many runs of a row that have something with a name."""

    row: int
    subject: str
    """``error``: the class of what they failed with. ``tier``: who answered, of a cascade."""
    name: str
    runs: int


@dataclass(frozen=True, slots=True)
class Parts:
    """Sums, a row each for runs of one identity in one stretch of time."""

    identities: tuple[Identity, ...]
    identity: Ints
    """Which of them a row is of, ``[rows]``."""
    stretch: Ints
    """The number of its stretch, ``[rows]``."""
    counts: Ints
    """``[rows, COUNTS]``."""
    amounts: Floats
    """``[rows, AMOUNTS]``."""
    peaks: Floats
    """``[rows, PEAKS]``; NaN where none was measured."""
    times: Ints
    """``[entries, 4]``: row, which of `KINDS`, bin, how many."""
    tallies: tuple[Tally, ...]

    @classmethod
    def of_runs(cls, rows: Sequence[Any], stretch: Ints) -> Self:
        """A row for each run.

        Args:
            rows: each with the fields of `Identity` and `OF_RUN`.
            stretch: of each, ``[rows]``.
        """
        places: dict[Identity, int] = {}
        identity = [
            places.setdefault(Identity(*(getattr(row, name) or "" for name in Identity._fields)), len(places))
            for row in rows
        ]
        known = [list(values) for values in zip(*(_of_run(row) for row in rows), strict=True)]
        table = dict(zip(OF_RUN, known or [[] for _ in OF_RUN], strict=True))
        counts, amounts = _sums_of(table)
        tallies = [
            Tally(place, subject, name, 1)
            for subject, column in (("error", "error_kind"), ("tier", "tier"))
            for place, name in enumerate(table[column])
            if name
        ]
        return cls(
            tuple(places),
            np.array(identity, dtype=np.int64),
            stretch,
            np.array([counts[name] for name in COUNTS], dtype=np.int64).T.reshape(len(rows), len(COUNTS)),
            np.array([amounts[name] for name in AMOUNTS], dtype=np.float64).T.reshape(len(rows), len(AMOUNTS)),
            np.array([table[name] for name in PEAKS], dtype=np.float64).T.reshape(len(rows), len(PEAKS)),
            _times_of(table),
            tuple(tallies),
        )

    @classmethod
    def together(cls, several: Sequence[Parts]) -> Parts:
        """All rows of several."""
        places: dict[Identity, int] = {}
        identity, times, tallies, above = [], [], [], 0
        for each in several:
            own = [places.setdefault(one, len(places)) for one in each.identities]
            identity.append(np.array(own, dtype=np.int64)[each.identity])
            shifted = each.times.copy()
            shifted[:, 0] += above
            times.append(shifted)
            tallies += [tally._replace(row=tally.row + above) for tally in each.tallies]
            above += len(each.identity)
        if not several:
            return cls.of_runs([], np.zeros(0, dtype=np.int64))
        return cls(
            tuple(places),
            np.concatenate(identity),
            np.concatenate([each.stretch for each in several]),
            np.concatenate([each.counts for each in several]),
            np.concatenate([each.amounts for each in several]),
            np.concatenate([each.peaks for each in several]),
            np.concatenate(times),
            tuple(tallies),
        )

    @property
    def runs(self) -> int:
        """How many runs they are of."""
        return int(self.counts[:, COUNTS.index("runs")].sum())

    def only(self, wanted: Sequence[bool]) -> Parts:
        """The rows of some identities: those of which ``wanted`` says so."""
        if all(wanted):
            return self
        kept = np.array(wanted, dtype=bool)[self.identity]
        row_of = np.cumsum(kept) - 1
        times = self.times[kept[self.times[:, 0]]]
        times[:, 0] = row_of[times[:, 0]]
        return replace(
            self,
            identity=self.identity[kept],
            stretch=self.stretch[kept],
            counts=self.counts[kept],
            amounts=self.amounts[kept],
            peaks=self.peaks[kept],
            times=times,
            tallies=tuple(each._replace(row=int(row_of[each.row])) for each in self.tallies if kept[each.row]),
        )

    def in_stretch(self, number: int) -> Parts:
        """The same, all rows in one stretch."""
        return replace(self, stretch=np.full_like(self.stretch, number))

    def added_up(self) -> Parts:
        """One row for each identity and stretch that there is."""
        pairs = np.stack([self.stretch, self.identity], axis=1)
        found, groups = np.unique(pairs, axis=0, return_inverse=True)
        groups, number = groups.reshape(-1), len(found)
        counts = np.zeros((number, len(COUNTS)), dtype=np.int64)
        np.add.at(counts, groups, self.counts)
        amounts = np.zeros((number, len(AMOUNTS)))
        np.add.at(amounts, groups, self.amounts)
        peaks = np.full((number, len(PEAKS)), np.nan)
        np.fmax.at(peaks, groups, self.peaks)
        found_times = self.times.copy()
        found_times[:, 0] = groups[self.times[:, 0]]
        tallies: Counter[tuple[int, str, str]] = Counter()
        for each in self.tallies:
            tallies[int(groups[each.row]), each.subject, each.name] += each.runs
        return Parts(
            self.identities,
            found[:, 1],
            found[:, 0],
            counts,
            amounts,
            peaks,
            _counted(found_times),
            tuple(Tally(*key, count) for key, count in tallies.items()),
        )


def _of_run(row: Any) -> list[Any]:
    return [getattr(row, name) for name in OF_RUN]


def _sums_of(table: dict[str, list[Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Each run's counts and amounts, by name."""
    status = np.array(table["status"], dtype=str)
    finished = status == str(RunStatus.FINISHED)
    disturbed = np.array([each is True for each in table["disturbed"]], dtype=bool)
    reason = np.array([each or "" for each in table["finish_reason"]], dtype=str)
    batch = _floats(table["mean_batch_size"])
    shared = np.array([is_shared(each) for each in table["mean_batch_size"]], dtype=bool)
    cascade = np.array([bool(each) for each in table["tier"]], dtype=bool)
    derived = np.array([each is True for each in table["large_alone_derived"]], dtype=bool)
    alone, saved = _floats(table["large_alone_s"]), _floats(table["cascade_saved_s"])
    known = ~np.isnan(alone)
    counts: dict[str, Any] = {"runs": np.ones(len(status)), "disturbed": finished & disturbed}
    counts |= {str(each): status == str(each) for each in RunStatus}
    counts |= {name: np.nan_to_num(_floats(table[name])) for name in TOKENS}
    counts["untold_prompt_tokens"] = np.where(np.isnan(_floats(table["cached_tokens"])), counts["prompt_tokens"], 0)
    counts |= {f"ended_{each}": finished & (reason == each) for each in ("stop", "length")}
    speculated = _floats(table["speculation_saved_s"])
    counts |= {"batched": ~np.isnan(batch), "shared": shared, "speculated": ~np.isnan(speculated)}
    counts |= {"cascades": known, "went_up": known & ~derived}
    ttft, e2e = _floats(table["ttft_s"]), _floats(table["e2e_s"])
    busy = np.nan_to_num(np.maximum(e2e - np.nan_to_num(_floats(table["queue_s"])), 0.0))
    read = _floats(table["prefill_s"])
    # with no gear in the way: what reading and writing a token takes the model itself
    plain = finished & ~disturbed & ~shared & ~cascade & ~known & (read > 0) & ~np.isnan(ttft)
    plain &= (counts["cached_tokens"] == 0) & (counts["drafted_tokens"] == 0)
    written = plain & (counts["completion_tokens"] > 1)
    counts["plain_read_tokens"] = np.where(plain, counts["prompt_tokens"], 0)
    counts["plain_written_tokens"] = np.where(written, counts["completion_tokens"] - 1, 0)
    amounts: dict[str, Any] = {
        "batch_sizes": np.nan_to_num(batch),
        "busy_s": busy,
        "machine_s": busy / np.maximum(1.0, np.nan_to_num(batch)),
        "plain_read_s": np.where(plain, np.nan_to_num(read), 0.0),
        "plain_written_s": np.where(written, np.nan_to_num(e2e - ttft), 0.0),
        "alone_measured_s": np.where(known & ~derived, np.nan_to_num(alone), 0.0),
        "saved_measured_s": np.where(known & ~derived, np.nan_to_num(saved), 0.0),
        "alone_derived_s": np.where(known & derived, np.nan_to_num(alone), 0.0),
        "saved_derived_s": np.where(known & derived, np.nan_to_num(saved), 0.0),
        "speculation_saved_s": np.nan_to_num(speculated),
    }
    return counts, amounts


def _times_of(table: dict[str, list[Any]]) -> Ints:
    finished = np.array([each == RunStatus.FINISHED for each in table["status"]], dtype=bool)
    disturbed = np.array([each is True for each in table["disturbed"]], dtype=np.int64)
    found = []
    for place, name in enumerate(TIMES):
        values = _floats(table[name])
        (rows,) = np.nonzero(finished & ~np.isnan(values))
        kind = place + len(TIMES) * disturbed[rows]
        found.append(np.stack([rows, kind, bins_of(values[rows]), np.ones_like(rows)], axis=1))
    return np.concatenate(found)


def _counted(times: Ints) -> Ints:
    """Entries of the same row, kind and bin as one."""
    found, groups = np.unique(times[:, :3], axis=0, return_inverse=True)
    count = np.zeros(len(found), dtype=np.int64)
    np.add.at(count, groups.reshape(-1), times[:, 3])
    return np.column_stack([found, count])


def _floats(values: Sequence[Any]) -> Floats:
    """NaN where there is none."""
    return np.array(values, dtype=np.float64)
