"""What every drafter does: propose, and observe what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from engine.generation.token_buffer import TokenBuffer
from engine.passes import Steps


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """Tokens that may come next."""

    token_ids: tuple[int, ...] = ()
    match_length: int | None = None
    """Of an n-gram draft: tokens before it that stood in the text already."""
    seconds: float = 0.0
    """What a model has taken to choose them, without what it had to read first."""

    def first(self, count: int) -> Draft:
        """Its first tokens."""
        return replace(self, token_ids=self.token_ids[:count])


NO_DRAFT = Draft()


class DraftSource(Protocol):
    """Proposes tokens for one run."""

    def propose(self, text: TokenBuffer, count: int, generator: torch.Generator) -> Steps[Draft]:
        """At most ``count`` tokens to follow the text, none if it has no opinion. Who drafts with a model yields that
        model's passes.

        Args:
            text: all tokens so far.
            count: tokens at most.
            generator: what the model's own next token will be drawn with, for who wants to draw alike; it is not
                changed.
        """
        ...

    def observe(self, token_ids: Sequence[int]) -> None:
        """These tokens have been added to the text: accepted drafts, and what the model chose itself."""
        ...
