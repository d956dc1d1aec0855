"""The token ids of a text that grows, in one piece of memory."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import addressof, c_int64

import torch
from torch import Tensor


class TokenBuffer:
    """Prompt and answer. Views of it grow without copying, and drafted tokens can be written behind its end.

    The memory is not torch's own: a torch operation gives up the GIL, and whoever writes an answer would have to wait
    for it again with every token.
    """

    def __init__(self, prompt_ids: Sequence[int], capacity: int, answered: int = 0) -> None:
        """
        Args:
            prompt_ids: what stands in it from the beginning.
            capacity: tokens it will have to hold in all, drafted ones included.
            answered: how many of the prompt's last tokens are the answer's first.
        """
        self.answer_start = len(prompt_ids) - answered
        """Where the answer begins."""
        self.capacity = max(capacity, len(prompt_ids), 1)
        self._memory = (c_int64 * self.capacity)(*prompt_ids)
        self._ids = torch.frombuffer(self._memory, dtype=torch.long)
        self._length = len(prompt_ids)

    def __len__(self) -> int:
        return self._length

    @property
    def address(self) -> int:
        """Where the first id lies, for kernels that write here; :meth:`grew` tells of what they wrote."""
        return addressof(self._memory)

    @property
    def ids(self) -> Tensor:
        """All tokens so far, int64 ``[length]``; a view."""
        return self._ids[: self._length]

    @property
    def last(self) -> int:
        """The last token."""
        return self._memory[self._length - 1]

    def since(self, start: int) -> list[int]:
        """The tokens from a place on."""
        return self._memory[start : self._length]

    def append(self, token_id: int) -> None:
        """One more token."""
        self._memory[self._length] = token_id
        self._length += 1

    def grew(self, count: int) -> None:
        """So many tokens have been written behind the end, and count from now on."""
        self._length += count

    def truncate(self, length: int) -> None:
        """Forget every token from ``length`` on."""
        self._length = min(length, self._length)

    def ids_with(self, drafted: Sequence[int]) -> Tensor:
        """All tokens and drafted ones behind them, which do not count; a view until the next append."""
        end = self._length + len(drafted)
        self._memory[self._length : end] = list(drafted)
        return self._ids[:end]
