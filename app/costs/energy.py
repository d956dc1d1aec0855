"""Energy: counted by the processor (RAPL) and the GPUs (NVML) where the system tells, else estimated from a wattage.

A counter is read before and after; the difference is of the whole package or board, whoever used it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol, Self

from app import units
from app.costs.errors import check_amount

_POWERCAP = Path("/sys/class/powercap")
_NVML = "libnvidia-ml.so.1"
_MOST_RAPL_UJ = 2**32
"""Where a domain does not tell at which count it begins anew."""


@dataclass(frozen=True, slots=True)
class Energy:
    """How much was used, and how that is known."""

    joules: float
    source: str
    """What counted it, or from what it is estimated."""
    measured: bool

    @property
    def provenance(self) -> str:
        """ "measured, RAPL" or "estimated from 40 W"."""
        return f"{'measured,' if self.measured else 'estimated from'} {self.source}"

    @property
    def text(self) -> str:
        """ "12.3 J", or "12.3 J, estimated"."""
        return f"{units.energy(self.joules)}{'' if self.measured else ', estimated'}"

    def times(self, factor: float) -> Energy:
        """As much of it, known in the same way."""
        return replace(self, joules=self.joules * factor)


def estimated_energy(watts: float, seconds: float) -> Energy:
    """What a machine of a stated power uses in a time.

    Raises:
        CostsError: power or time is no number of 0 or more.
    """
    check_amount("A machine's power, in watts,", watts)
    check_amount("The time, in seconds,", seconds)
    return Energy(watts * seconds, f"{watts:g} W", measured=False)


class EnergyCounter(Protocol):
    """Something that counts energy as long as the machine is on."""

    name: str

    def read(self) -> Sequence[float]:
        """The counts as they stand, in joules, one for each part of the machine."""

    def used(self, before: Sequence[float], after: Sequence[float]) -> float:
        """Joules between two readings."""


class Rapl:
    """Intel's and AMD's processor packages and their memory, as Linux tells of them (powercap)."""

    name = "RAPL"

    def __init__(self, domains: Sequence[Path]) -> None:
        self._domains = tuple(domains)
        self._ranges = [_microjoules(domain / "max_energy_range_uj") or _MOST_RAPL_UJ for domain in self._domains]

    @classmethod
    def find(cls, root: Path = _POWERCAP) -> Self | None:
        """The counters of this machine; ``None`` where there are none, or only root may read them."""
        packages = [domain for domain in root.glob("*rapl:*") if _name(domain).startswith("package")]
        memory = [part for part in root.glob("*rapl:*:*") if _name(part) == "dram"]
        domains = sorted({*packages, *memory})
        if not domains or any(_microjoules(domain / "energy_uj") is None for domain in domains):
            return None
        return cls(domains)

    def read(self) -> Sequence[float]:
        """Joules of each package and its memory."""
        return [(_microjoules(domain / "energy_uj") or 0) / 1e6 for domain in self._domains]

    def used(self, before: Sequence[float], after: Sequence[float]) -> float:
        """Joules between two readings; a count that has begun anew has done so once."""
        return sum(
            end - begin if end >= begin else end - begin + most / 1e6
            for begin, end, most in zip(before, after, self._ranges, strict=True)
        )


class Nvml:
    """NVIDIA's boards since Volta, as their driver tells of them."""

    name = "NVML"

    def __init__(self, library: Any, boards: Sequence[Any]) -> None:
        self._library = library
        self._boards = tuple(boards)

    @classmethod
    def find(cls, library: Any = None) -> Self | None:
        """The counters of this machine; ``None`` where there is no such driver or board.

        Args:
            library: NVML, loaded; the system's if it is not given.
        """
        try:
            library = library or ctypes.CDLL(_NVML)
        except OSError:
            return None
        count = ctypes.c_uint()
        if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return None
        boards = [ctypes.c_void_p() for _ in range(count.value)]
        for place, board in enumerate(boards):
            if library.nvmlDeviceGetHandleByIndex_v2(place, ctypes.byref(board)):
                return None
        found = cls(library, boards)
        return found if boards and all(found._millijoules(board) is not None for board in boards) else None

    def read(self) -> Sequence[float]:
        """Joules of each board since its driver was loaded."""
        return [(self._millijoules(board) or 0) / 1e3 for board in self._boards]

    def used(self, before: Sequence[float], after: Sequence[float]) -> float:
        """Joules between two readings."""
        return sum(end - begin for begin, end in zip(before, after, strict=True))

    def _millijoules(self, board: Any) -> int | None:
        count = ctypes.c_ulonglong()
        failed = self._library.nvmlDeviceGetTotalEnergyConsumption(board, ctypes.byref(count))
        return None if failed else count.value


@cache
def find_counters() -> tuple[EnergyCounter, ...]:
    """What counts energy on this machine, and may be read; looked for once."""
    return tuple(counter for counter in (Rapl.find(), Nvml.find()) if counter)


class EnergyMeter:
    """Reads the counters when it is made, and again when it is asked."""

    def __init__(self, counters: Sequence[EnergyCounter]) -> None:
        """
        Args:
            counters: at least one.
        """
        self._counters = tuple(counters)
        self._before = [counter.read() for counter in self._counters]

    def end(self) -> Energy:
        """Used since it was made."""
        joules = sum(
            counter.used(before, counter.read()) for counter, before in zip(self._counters, self._before, strict=True)
        )
        return Energy(joules, " and ".join(counter.name for counter in self._counters), measured=True)


def _name(domain: Path) -> str:
    try:
        return (domain / "name").read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _microjoules(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
