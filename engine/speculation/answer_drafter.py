"""Drafting from an answer that a smaller model has given to the same prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.generation.token_buffer import TokenBuffer
from engine.passes import Steps
from engine.speculation.drafts import NO_DRAFT, Draft

_ANCHOR = 3
"""Tokens that must agree before the drafter takes the answer up again where it had parted from it."""


class AnswerDrafter:
    """Proposes how the smaller model's answer goes on, from the beginning or from where the two meet again."""

    def __init__(self, answer: Sequence[int]) -> None:
        self._answer = tuple(answer)
        self._next: int | None = 0
        """Place in the answer of the token to come; ``None`` where the two have parted."""
        self._agreed = _ANCHOR
        """Tokens in a row that agreed, a little trust at the beginning."""
        self._recent: list[int] = []
        self._anchors: dict[tuple[int, ...], int] = {}
        for end in range(_ANCHOR, len(self._answer) + 1):
            self._anchors.setdefault(self._answer[end - _ANCHOR : end], end)

    def propose(self, text: TokenBuffer, count: int, generator: torch.Generator) -> Steps[Draft]:
        yield from ()
        if self._next is None:
            return NO_DRAFT
        drafted = self._answer[self._next : self._next + count]
        return Draft(drafted, match_length=self._agreed) if drafted else NO_DRAFT

    def observe(self, token_ids: Sequence[int]) -> None:
        for token in token_ids:
            self._recent = [*self._recent[1 - _ANCHOR :], token]
            if self._next is not None and self._next < len(self._answer) and self._answer[self._next] == token:
                self._next += 1
                self._agreed += 1
                continue
            self._next = self._anchors.get(tuple(self._recent))
            self._agreed = _ANCHOR
