"""Memory of this process and this machine, measured, and refusals of what does not fit."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from engine.errors import InsufficientMemoryError
from engine.machine.limits import address_space_left, cgroup_left, data_left

if TYPE_CHECKING:
    import torch

RESERVE_BYTES = 512 * 2**20
"""Left free for everything else on the machine."""
_LIBRARIES_SPACE = 1024 * 2**20
_LIBRARIES_DATA = 384 * 2**20
_SPACE_A_THREAD = 72 * 2**20
"""What torch and transformers take of a process's limits before a model is read, and what each of torch's threads
does: its stack, and a pool of memory to allocate from. Short of that they do not raise but end the process."""
_OUT_OF_MEMORY = (
    "allocate memory", "not enough memory", "out of memory", "bad_alloc", "failed to map segment",
    "can't start new thread",
)  # fmt: skip


def available_bytes() -> int:
    """Memory that can be taken without swapping, and without passing a limit of this process or its control group."""
    bounds = (int(psutil.virtual_memory().available), cgroup_left(), data_left(), address_space_left())
    return min(bound for bound in bounds if bound is not None)


def room_for_models(device_name: str) -> int:
    """Bytes that models which are not loaded yet can have of a device's memory, a reserve left aside.

    Args:
        device_name: as :class:`~engine.EngineStatus` has it: "cpu", or a GPU's name, once a request has run on it.
    """
    if device_name == "cpu":
        return max(0, available_bytes() - RESERVE_BYTES)
    import torch

    return max(0, available_gpu_bytes(torch.device("cuda", 0)) - RESERVE_BYTES)


def machine_bytes() -> int:
    """All memory of the machine, taken or free."""
    return int(psutil.virtual_memory().total)


def require_room_for_libraries() -> None:
    """Refuse to import torch into a process whose limits it would not survive.

    Raises:
        InsufficientMemoryError: address space or private memory is limited to less than it takes.
    """
    if "torch" in sys.modules:
        return
    threads = (os.cpu_count() or 1) * _SPACE_A_THREAD
    for left, needed, limit in (
        (address_space_left(), _LIBRARIES_SPACE + threads, "address space (ulimit -v)"),
        (data_left(), _LIBRARIES_DATA, "data (ulimit -d)"),
    ):
        if left is not None and left < needed:
            raise InsufficientMemoryError(
                f"Before any model is read, the libraries need about {needed / 2**30:.2f} GiB, and this process's "
                f"limit on its {limit} leaves {left / 2**30:.2f} GiB. Raise the limit, and start Gearbox again."
            )


def require_address_space(needed: int, purpose: str) -> None:
    """Refuse what the process's address space cannot take, files that are read where they lie included.

    Args:
        needed: estimated bytes.
        purpose: what for, as the subject of a sentence.

    Raises:
        InsufficientMemoryError: less is left below the process's limit.
    """
    left = address_space_left()
    if left is not None and needed > left:
        raise InsufficientMemoryError(
            f"{purpose} needs about {needed / 2**30:.2f} GiB of address space (estimated), and this process's limit "
            f"(ulimit -v) leaves {left / 2**30:.2f} GiB."
        )


@contextmanager
def memory_errors_in_words(doing: str) -> Iterator[None]:
    """Memory that ran out in spite of all estimates becomes an error for the user.

    Args:
        doing: what was being done, as "while …" goes on.

    Raises:
        InsufficientMemoryError: an allocation, a mapping or a thread was refused.
    """
    try:
        yield
    except MemoryError as error:
        raise _ran_out(doing) from error
    except (RuntimeError, OSError, ImportError) as error:  # torch and the loader have no class of their own for it
        if not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        raise _ran_out(doing) from error


def _ran_out(doing: str) -> InsufficientMemoryError:
    return InsufficientMemoryError(
        f"Memory ran out while {doing}. Close what else needs memory, raise this process's limits, or choose a smaller "
        "model or fewer bits."
    )


def available_gpu_bytes(device: torch.device) -> int:
    """A GPU's memory that is free, or that torch holds without using it."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def held_bytes(device: torch.device | None = None) -> int:
    """What this process has taken of a device's memory: all that it could give back; of the machine's own, pages of
    files count as available already."""
    if device is None or device.type == "cpu":
        taken = psutil.Process().memory_info()
        return int(taken.rss - getattr(taken, "shared", 0))  # Linux alone tells
    import torch

    return int(torch.cuda.memory_allocated(device))


def require_memory(
    needed: int, purpose: str, reclaimable: int = 0, device: torch.device | None = None, promised: int = 0
) -> None:
    """Refuse what does not fit.

    Args:
        needed: estimated bytes.
        purpose: what for, as the subject of a sentence.
        reclaimable: bytes that could be freed for it.
        device: whose memory, if not the machine's own.
        promised: bytes that are free and will be taken by something else.

    Raises:
        InsufficientMemoryError: less is free, a reserve left aside.
    """
    if device is None or device.type == "cpu":
        available, kind = available_bytes(), "memory"
    else:
        available, kind = available_gpu_bytes(device), "GPU memory"
    free = max(0, available - RESERVE_BYTES - promised) + reclaimable
    if needed > free:
        raise InsufficientMemoryError(
            f"{purpose} needs about {needed / 2**30:.2f} GiB of {kind} (estimated), and {free / 2**30:.2f} GiB "
            "can be used."
        )


class PeakRss:
    """The process's greatest resident memory while somebody watches.

    The kernel's own high-water mark never falls, so it would show an earlier run's peak.
    """

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.peak_bytes = 0

    def restart(self) -> None:
        """Forget the peak so far."""
        self.peak_bytes = 0

    def look(self) -> None:
        """Look how much it is now."""
        self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)

    def read(self) -> int:
        """The peak so far, in bytes."""
        self.look()
        return self.peak_bytes


class RssSampler:
    """Looks 20 times a second for all who watch, in one thread that is there while anybody does."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._watching: list[PeakRss] = []
        self._samples = False
        self._changed = threading.Condition()

    @contextmanager
    def watch(self) -> Iterator[PeakRss]:
        """Watch while a block runs."""
        peak = PeakRss(self._process)
        peak.look()
        with self._changed:
            self._watching.append(peak)
            if not self._samples:
                self._samples = True
                threading.Thread(target=self._sample, name="peak-rss", daemon=True).start()
        try:
            yield peak
        finally:
            peak.look()
            with self._changed:
                self._watching.remove(peak)
                self._changed.notify()

    def _sample(self) -> None:
        with self._changed:
            while not self._changed.wait_for(lambda: not self._watching, 0.05):
                for peak in self._watching:
                    peak.look()
            self._samples = False
