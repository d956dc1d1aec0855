"""Memory that costs nothing before it is written, and can be given back piece by piece."""

from __future__ import annotations

import mmap
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from engine.machine.huge_pages import HUGE

_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_NEVER = b"2"
"""The kernel then counts address space as if it were written."""


class LazyMemory:
    """Address space: zeros, of which a page takes memory once it is written."""

    def __init__(self, nbytes: int) -> None:
        """
        Args:
            nbytes: at most as much as the machine has; more may be refused.

        Raises:
            OSError: there is no more address space.
        """
        self._map = mmap.mmap(-1, to_pages(max(nbytes, 1)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._advise(mmap.MADV_NOHUGEPAGE, 0, len(self._map))  # the first byte of a large page would take all of it
        self.bytes: Tensor = torch.frombuffer(self._map, dtype=torch.uint8)
        """All of it, in whole pages."""

    def expect(self, begin: int, end: int) -> None:
        """All between two bytes is about to be written: large pages for as much of it as they fit in."""
        place = self.bytes.data_ptr()
        begin = -(-(place + begin) // HUGE) * HUGE - place
        end = (place + end) // HUGE * HUGE - place
        if begin < end:
            self._advise(mmap.MADV_HUGEPAGE, begin, end - begin)

    def _advise(self, kind: int, begin: int, nbytes: int) -> None:
        with suppress(OSError):  # a kernel without large pages
            self._map.madvise(kind, begin, nbytes)

    def give_back(self, begin: int, end: int) -> None:
        """Let the pages go that lie between two bytes, and hold zeros from then."""
        begin = to_pages(begin)
        end = end // mmap.PAGESIZE * mmap.PAGESIZE
        if begin < end:
            self._map.madvise(mmap.MADV_DONTNEED, begin, end - begin)
            self._advise(mmap.MADV_NOHUGEPAGE, begin, end - begin)  # until as much is expected again


def to_pages(nbytes: int) -> int:
    """Rounded up to whole pages."""
    return -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE


def address_space_is_free() -> bool:
    """Whether address space that is never written counts against nothing: on Linux, without limits on it."""
    if sys.platform != "linux":
        return False
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    if any(limit != resource.RLIM_INFINITY for limit in limits):
        return False
    try:
        return _OVERCOMMIT.read_bytes().strip() != _NEVER
    except OSError:
        return False
