"""Who else used this machine's processor while a run was answered, read from the system before it and after it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import psutil

from engine.machine.limits import own_groups, read_small
from engine.types import Disturbance

_TASKS = Path("/proc/self/task")
_CPUS = Path("/sys/devices/system/cpu")
_NICENESS = 5
"""Leaves a thread about a quarter of a core that another one wants."""
_MOST_CLOCKS = 8
"""Processors whose clock and heat are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counters of the system at one moment. Times are seconds; ``None`` where it does not tell."""

    at: float
    cores: int
    """Logical processors that this process may use."""
    process_s: float
    """Processor time of this process."""
    used_s: float | None = None
    """Processor time of all programs on these cores."""
    stolen_s: float | None = None
    engine: dict[int, tuple[float, float]] | None = None
    """Of each of the engine's threads, by its id: processor time, and time waited for a core."""
    throttled_s: float | None = None
    heat_s: float | None = None
    clock_hz: float | None = None


def name_engine_thread() -> None:
    """Give the calling thread a name of its own, where the system keeps names by thread. The threads that it starts
    to compute with inherit the name, and are told from others by it."""
    if sys.platform == "linux":
        own = threading.get_native_id()
        try:
            (_TASKS / str(own) / "comm").write_text(_engine_name(own))
        except OSError:  # a sandbox that lets nothing be written there
            return


def stand_behind_engine_threads() -> None:
    """Where the system has names and priorities by thread, tell the calling thread from the engine's, which has started
    it, and let it compute with what the engine leaves; so with all threads that it starts."""
    if sys.platform == "linux":
        own = threading.get_native_id()
        with suppress(OSError):  # a sandbox that lets nothing be written there
            (_TASKS / str(own) / "comm").write_text(f"loading {own}")
        with suppress(OSError):  # or no priority be changed
            os.nice(_NICENESS)


class DisturbanceWatch:
    """Watches a run from its making on. Made and asked in the engine's thread."""

    def __init__(self, threads: int, read: Callable[[], Reading] | None = None) -> None:
        """
        Args:
            threads: that the engine computes with.
            read: how the system's counters are read.
        """
        self._threads = threads
        self._read = read or read_counters
        self._begin = read() if read else read_counters(in_haste=True)

    def end(self) -> Disturbance:
        """What happened so far."""
        return disturbance_between(self._begin, self._read(), self._threads)


def disturbance_between(begin: Reading, end: Reading, threads: int) -> Disturbance:
    """What two readings say of the time between them.

    Counters that fall, as some do when a processor is taken away or a group is left, count as standing still.
    """
    cores = max(1, end.cores)
    process_s = max(0.0, end.process_s - begin.process_s)
    used_s = _grown(begin.used_s, end.used_s)
    ran_s, waited_s = _engine_between(begin, end)
    heat_s = _grown(begin.heat_s, end.heat_s)
    return Disturbance(
        seconds=max(0.0, end.at - begin.at),
        cores=cores,
        threads=max(1, min(threads, cores)),
        programs_s=None if used_s is None else max(0.0, used_s - process_s),
        threads_s=None if ran_s is None else max(0.0, process_s - ran_s),
        ran_s=ran_s,
        waited_s=waited_s,
        stolen_s=_grown(begin.stolen_s, end.stolen_s),
        throttled_s=_grown(begin.throttled_s, end.throttled_s),
        heat_s=heat_s,
        clock_change=end.clock_hz / begin.clock_hz if begin.clock_hz and end.clock_hz else None,
    )


def read_counters(tasks: Path = _TASKS, cpus: Path = _CPUS, *, in_haste: bool = False) -> Reading:
    """The counters as they stand.

    Args:
        tasks: where the kernel tells of this process's threads.
        cpus: where it tells of processors.
        in_haste: look only at those of the engine's threads that the last look found, for a run is waiting.
    """
    allowed = _allowed_cpus()
    used_s, stolen_s = _used(allowed)
    some = [cpus / f"cpu{cpu}" for cpu in sorted(allowed)[:_MOST_CLOCKS]]
    return Reading(
        at=perf_counter(),
        cores=len(allowed),
        process_s=process_time(),
        used_s=used_s,
        stolen_s=stolen_s,
        engine=_engine_threads(tasks, in_haste=in_haste),
        throttled_s=_throttled(),
        heat_s=_most(some, "thermal_throttle/core_throttle_total_time_ms", 1e-3),
        clock_hz=_most(some, "cpufreq/scaling_cur_freq", 1e3),
    )


def _engine_name(thread_id: int) -> str:
    return f"engine {thread_id}"


def _allowed_cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _used(allowed: set[int]) -> tuple[float | None, float | None]:
    """Processor time of all programs on some processors, and what the host of the machine took of them."""
    try:
        every = psutil.cpu_times(percpu=True)
    except (OSError, psutil.Error):  # a sandbox without /proc/stat
        return None, None
    own = [every[cpu] for cpu in allowed] if max(allowed) < len(every) else every
    used_s = sum(getattr(one, name, 0.0) for one in own for name in ("user", "nice", "system", "irq", "softirq"))
    return used_s, sum(one.steal for one in own) if own and hasattr(own[0], "steal") else None


def _engine_threads(tasks: Path, *, in_haste: bool) -> dict[int, tuple[float, float]] | None:
    """By id, how long each of the engine's threads ran and waited; ``None`` where threads cannot be told apart, or the
    kernel counts no waiting. The calling thread is the engine's."""
    own = threading.get_native_id()
    if not in_haste or own not in _teams:
        _teams[own] = _threads_named(_engine_name(own), tasks)
    found = {}
    for thread_id in _teams[own]:
        try:
            ran_ns, waited_ns, _ = read_small(tasks / str(thread_id) / "schedstat").split()
            found[thread_id] = int(ran_ns) * 1e-9, int(waited_ns) * 1e-9
        except (OSError, ValueError):  # it has ended meanwhile, or this kernel counts nothing
            continue
    return found or None


_teams: dict[int, tuple[int, ...]] = {}
"""The threads that each engine's thread computes with, itself among them, as they were last found."""


def _threads_named(name: str, tasks: Path) -> tuple[int, ...]:
    found = []
    try:
        for thread in tasks.iterdir():
            with suppress(OSError):  # it has ended meanwhile
                if read_small(thread / "comm").rstrip("\n") == name:
                    found.append(int(thread.name))
    except OSError:
        return ()
    return tuple(found)


def _engine_between(begin: Reading, end: Reading) -> tuple[float | None, float | None]:
    """How long the engine's threads ran and waited; one that was not there at the begin started from nothing."""
    if begin.engine is None or end.engine is None:
        return None, None
    ran_s = waited_s = 0.0
    for thread_id, (ran, waited) in end.engine.items():
        ran_before, waited_before = begin.engine.get(thread_id, (0.0, 0.0))
        ran_s += max(0.0, ran - ran_before)
        waited_s += max(0.0, waited - waited_before)
    return ran_s, waited_s


def _throttled() -> float | None:
    """How long this process's own control group was stopped by a limit on processor time, its threads together."""
    for folder, unified in own_groups("cpu"):
        name, scale = ("throttled_usec", 1e-6) if unified else ("throttled_time", 1e-9)
        try:
            counts = dict(line.split() for line in read_small(folder / "cpu.stat").splitlines())
        except (OSError, ValueError):  # a container may not see its own group
            continue
        if name in counts:
            return int(counts[name]) * scale
    return None


def _most(folders: Sequence[Path], name: str, scale: float) -> float | None:
    """The greatest of the numbers in the file of a name in some folders; ``None`` where there are none."""
    found = []
    for folder in folders:
        try:
            found.append(int(read_small(folder / name)) * scale)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def _grown(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None else max(0.0, end - begin)
