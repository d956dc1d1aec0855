"""A server's pieces of text as what an answer is recorded of: choices of tokens, which it gives no numbers of ours."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engine.backends.remote.reading import Piece, TokenChance
from engine.generation.choice import Choice, Confidence


class Spelling:
    """The pieces of one answer, numbered as they come. The numbers mean nothing outside of it."""

    def __init__(self, top_logprobs: int) -> None:
        """
        Args:
            top_logprobs: likeliest tokens that are told of with each.
        """
        self._texts: list[str] = []
        self._top_logprobs = top_logprobs

    def choices(self, piece: Piece, t: float) -> list[Choice]:
        """A piece as choices: one for each token where the server tells of them, else one for all of it.

        Args:
            piece: what came.
            t: when, by ``time.perf_counter``.
        """
        tokens = piece.tokens or (TokenChance(piece.text, math.nan),)
        return [
            Choice(
                self._number(token.text),
                Confidence(token.logprob, math.nan, token.margin),
                t,
                likeliest=tuple(
                    (self._number(text), logprob) for text, logprob in token.likeliest[: self._top_logprobs]
                ),
            )
            for token in tokens
        ]

    def decode(self, numbers: Sequence[int]) -> str:
        """What these say."""
        return "".join(self._texts[number] for number in numbers)

    def text(self, number: int) -> str:
        """What one says."""
        return self._texts[number]

    def _number(self, text: str) -> int:
        self._texts.append(text)
        return len(self._texts) - 1
