"""What every drafter does: propose, and observe what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from engine.generation.token_buffer import TokenBuffer


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """Tokens that may come next."""

    token_ids: tuple[int, ...] = ()
    probabilities: tuple[Tensor, ...] | None = None
    """The distribution each of them was drawn from, fp32 ``[vocab]``; ``None`` for a drafter that has but one
    opinion."""
    match_length: int | None = None
    """Of an n-gram draft: tokens before it that stood in the text already."""

    def first(self, count: int) -> Draft:
        """Its first tokens."""
        kept = None if self.probabilities is None else self.probabilities[:count]
        return Draft(self.token_ids[:count], kept, self.match_length)


NO_DRAFT = Draft()


class DraftSource(Protocol):
    """Proposes tokens for one run."""

    def propose(self, text: TokenBuffer, count: int) -> Draft:
        """At most ``count`` tokens to follow the text, none if it has no opinion."""
        ...

    def observe(self, token_ids: Sequence[int]) -> None:
        """These tokens have been added to the text: accepted drafts, and what the model chose itself."""
        ...
