"""What the gears saved against answering everything with the large model in 16 bits and reusing nothing.

Seconds are those of the machine. What a gear saved is measured where both ways were taken, and else derived from what
reading and writing a token takes each model at each precision, as runs with no gear in the way measured it. So is what
runs that shared their passes would have taken alone, for company slows each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from app.store import KindStats
from engine.types import Precision, is_remote


class Gear(StrEnum):
    """What saves time."""

    MODEL = "Smaller model asked"
    PRECISION = "Fewer bits"
    CASCADE = "Cascade"
    CACHE = "KV reused"
    SPECULATION = "Speculation"
    SHARING = "Shared passes"


@dataclass(frozen=True, slots=True)
class Saving:
    """What one gear saved; below 0 where time was lost."""

    gear: Gear
    measured_s: float
    derived_s: float

    @property
    def seconds(self) -> float:
        """Both together."""
        return self.measured_s + self.derived_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Over the runs of which it can be told."""

    large: str
    """The large model."""
    runs: int
    machine_s: float
    """What they took of the machine: measured."""
    gears: tuple[Saving, ...]
    left_out: Mapping[str, int]
    """Runs of which it cannot be told, by what nobody has measured: "model · precision"."""

    @property
    def alone_s(self) -> float:
        """What the large model in 16 bits would have taken for them, nothing reused."""
        return self.machine_s + self.saved_s

    @property
    def saved_s(self) -> float:
        """All gears together."""
        return sum(each.seconds for each in self.gears)


class _Kind(NamedTuple):
    backend: str
    model: str
    precision: str


class _Pace(NamedTuple):
    read_s: float
    write_s: float

    def of(self, stats: KindStats) -> float:
        return self.read_s * stats.totals.prompt_tokens + self.write_s * stats.totals.completion_tokens


def savings(stats: Sequence[KindStats]) -> Savings | None:
    """What the gears of some runs saved; ``None`` where no model was measured in 16 bits with no gear."""
    paces = _paces(stats)
    in_16_bits = {kind: pace for kind, pace in paces.items() if kind.precision == Precision.BF16}
    if not in_16_bits:
        return None
    large = max(in_16_bits, key=lambda kind: in_16_bits[kind].write_s)
    found = {gear: [0.0, 0.0] for gear in Gear}
    runs, machine_s = 0, 0.0
    left_out: dict[str, int] = {}
    for each in stats:
        if not each.work.busy_s:
            continue
        own = _kind(each)
        full = own._replace(precision=Precision.BF16)
        missing = [kind for kind in (own, full) if kind not in paces]
        if missing:
            name = each.model if is_remote(each.model) else f"{missing[0].model} · {missing[0].precision}"
            left_out[name] = left_out.get(name, 0) + each.totals.runs
            continue
        runs += each.totals.runs
        machine_s += each.work.machine_s
        for gear, measured_s, derived_s in _of_one(each, paces[own], paces[full], paces[large]):
            found[gear][0] += measured_s
            found[gear][1] += derived_s
    gears = tuple(Saving(gear, *seconds) for gear, seconds in found.items() if any(seconds))
    return Savings(large=large.model, runs=runs, machine_s=machine_s, gears=gears, left_out=left_out)


def _of_one(stats: KindStats, own: _Pace, full: _Pace, large: _Pace) -> tuple[tuple[Gear, float, float], ...]:
    """Each gear's measured and derived seconds. Without the gears that left work out, its runs would have taken what
    they took and what those saved; at another pace, in proportion."""
    work = stats.work
    cascade_s = work.saved_measured_s + work.saved_derived_s
    reused_s = own.read_s * stats.totals.cached_tokens
    left_out_s = cascade_s + reused_s + work.speculation_saved_s
    # alone no run takes longer than in company
    alone_s = min(own.of(stats) - left_out_s, work.busy_s) if work.shared else work.machine_s
    nothing_left_out_s = alone_s + left_out_s
    in_16_bits_s = nothing_left_out_s * full.of(stats) / own.of(stats)
    by_large_s = in_16_bits_s * large.of(stats) / full.of(stats)
    return (
        (Gear.MODEL, 0.0, by_large_s - in_16_bits_s),
        (Gear.PRECISION, 0.0, in_16_bits_s - nothing_left_out_s),
        (Gear.CASCADE, work.saved_measured_s, work.saved_derived_s),
        (Gear.CACHE, 0.0, reused_s),
        (Gear.SPECULATION, 0.0, work.speculation_saved_s),
        (Gear.SHARING, 0.0, alone_s - work.machine_s),
    )


def _kind(stats: KindStats) -> _Kind:
    return _Kind(stats.backend, stats.model, stats.precision)


def _paces(stats: Sequence[KindStats]) -> dict[_Kind, _Pace]:
    """What runs with no gear in the way measured."""
    sums: dict[_Kind, list[float]] = {}
    for each in stats:
        kind = _kind(each)
        work = each.work
        read = (work.plain_read_s, work.plain_read_tokens, work.plain_written_s, work.plain_written_tokens)
        sums[kind] = [a + b for a, b in zip(sums.get(kind, (0.0,) * len(read)), read, strict=True)]
    return {
        kind: _Pace(read_s / read, written_s / written)
        for kind, (read_s, read, written_s, written) in sums.items()
        if read and written and written_s > 0
    }
