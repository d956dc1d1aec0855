"""Memory in pages of 2 MiB: a model is read from end to end for each token, and every page must be looked up."""

from __future__ import annotations

import mmap
from contextlib import suppress

import torch
from torch import Tensor

HUGE = 2 * 2**20
"""Bytes of a large page."""
_LINE = 64
"""A cache line: tensors begin at one."""


class HugePages:
    """Room for tensors, side by side. Where the system has no large pages to give, it is room of the usual kind."""

    def __init__(self, nbytes: int) -> None:
        """
        Args:
            nbytes: of all tensors, each rounded up by :meth:`size_of`.
        """
        memory = mmap.mmap(-1, max(nbytes, 1) + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
            with suppress(OSError):  # a kernel without them
                memory.madvise(mmap.MADV_HUGEPAGE)
        room = torch.frombuffer(memory, dtype=torch.uint8)
        begin = -room.data_ptr() % HUGE
        self._room = room[begin : begin + nbytes]
        self._used = 0

    @staticmethod
    def size_of(tensor: Tensor) -> int:
        """What a tensor takes here."""
        return -(-tensor.nbytes // _LINE) * _LINE

    def place(self, tensor: Tensor) -> Tensor:
        """A copy in here, contiguous.

        Raises:
            ValueError: there is no room for it.
        """
        end = self._used + self.size_of(tensor)
        if end > len(self._room):
            raise ValueError(f"{tensor.nbytes} bytes beside {self._used} of {len(self._room)}")
        placed = self._room[self._used : self._used + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        placed.copy_(tensor)
        self._used = end
        return placed
