"""Memory of this process and this machine, measured."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

import psutil

from engine.errors import InsufficientMemoryError

if TYPE_CHECKING:
    import torch

RESERVE_BYTES = 512 * 2**20
"""Left free for everything else on the machine."""


def available_bytes() -> int:
    """Memory that can be taken without swapping."""
    return int(psutil.virtual_memory().available)


def available_gpu_bytes(device: torch.device) -> int:
    """A GPU's memory that is free, or that torch holds without using it."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def require_memory(needed: int, purpose: str, reclaimable: int = 0, device: torch.device | None = None) -> None:
    """Refuse what does not fit.

    Args:
        needed: estimated bytes.
        purpose: what for, as the subject of a sentence.
        reclaimable: bytes that could be freed for it.
        device: whose memory, if not the machine's own.

    Raises:
        InsufficientMemoryError: less is free, a reserve left aside.
    """
    if device is None or device.type == "cpu":
        available, kind = available_bytes(), "memory"
    else:
        available, kind = available_gpu_bytes(device), "GPU memory"
    free = max(0, available - RESERVE_BYTES) + reclaimable
    if needed > free:
        raise InsufficientMemoryError(
            f"{purpose} needs about {needed / 2**30:.2f} GiB of {kind} (estimated), and {free / 2**30:.2f} GiB "
            "can be used."
        )


class PeakRss:
    """The process's greatest resident memory while a block runs, sampled 20 times a second.

    The kernel's own high-water mark never falls, so it would show an earlier run's peak.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-rss", daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def restart(self) -> None:
        """Forget the peak so far."""
        self.peak_bytes = 0

    def read(self) -> int:
        """The peak so far, in bytes."""
        self._look()
        return self.peak_bytes

    def _look(self) -> None:
        self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)

    def _sample(self) -> None:
        while not self._done.wait(0.05):
            self._look()
