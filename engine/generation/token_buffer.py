"""The token ids of a text that grows, in one piece of memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class TokenBuffer:
    """Prompt and answer. Views of it grow without copying, and drafted tokens can be written behind its end."""

    def __init__(self, prompt_ids: Sequence[int], capacity: int) -> None:
        """
        Args:
            prompt_ids: what stands in it from the beginning.
            capacity: tokens it will have to hold in all, drafted ones included.
        """
        self._ids = torch.empty(max(capacity, len(prompt_ids)), dtype=torch.long)
        self._ids[: len(prompt_ids)] = torch.tensor(prompt_ids)
        self._length = len(prompt_ids)

    def __len__(self) -> int:
        return self._length

    @property
    def ids(self) -> Tensor:
        """All tokens so far, int64 ``[length]``; a view."""
        return self._ids[: self._length]

    def append(self, token_id: int) -> None:
        """One more token."""
        self._ids[self._length] = token_id
        self._length += 1

    def ids_with(self, drafted: Sequence[int]) -> Tensor:
        """All tokens and drafted ones behind them, which do not count; a view until the next append."""
        end = self._length + len(drafted)
        self._ids[self._length : end] = torch.tensor(drafted, dtype=torch.long)
        return self._ids[:end]
