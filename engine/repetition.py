"""How much an answer repeats itself."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from engine.types import TokenEvent, token_ids_of

NGRAM = 4


def repeated_share(tokens: Sequence[Hashable]) -> float | None:
    """Share of the n-grams of four tokens that have stood in the answer before, 0 to 1; ``None`` if there is none.

    One minus the "distinct-n" of arXiv:1510.03055.
    """
    ngrams = [tuple(tokens[at : at + NGRAM]) for at in range(len(tokens) - NGRAM + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else None


def repeated_in(tokens: Sequence[TokenEvent]) -> float | None:
    """:func:`repeated_share` of an answer: of its tokens, or of its pieces of text where these have no numbers of
    ours, those that are not shown left out."""
    return repeated_share(token_ids_of(tokens) or [token.text for token in tokens if token.text])
