"""How much an answer repeats itself."""

from __future__ import annotations

from collections.abc import Sequence

NGRAM = 4


def repeated_share(token_ids: Sequence[int]) -> float | None:
    """Share of the n-grams of four tokens that have stood in the answer before, 0 to 1; ``None`` if there is none.

    One minus the "distinct-n" of arXiv:1510.03055.
    """
    ngrams = [tuple(token_ids[at : at + NGRAM]) for at in range(len(token_ids) - NGRAM + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else None
