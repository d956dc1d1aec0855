"""Whether an answer written with drafts is what plain decoding gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

SIGNIFICANCE = 0.001
"""A distribution test that less often than this would come out so by chance has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where an answer and plain decoding part."""

    index: int
    """Of the token in the answer."""
    written: str
    plain: str
    """What plain decoding would have written instead."""
    gap: float
    """Logit of plain decoding's token minus that of the one written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losslessness:
    """What reading an answer again showed."""

    tokens: int
    """Of the answer."""
    checked: int
    """How many of them, from the first on, are plain decoding's own."""
    near_ties: int
    """Of these, those that only a pass over one row alone confirmed."""
    divergence: Divergence | None
    """``None`` where there is none, and for sampled answers, which nothing can be equal to."""
    p_value: float | None = None
    """Of a sampled answer: how likely its own distributions, drawn from by the rule of acceptance, come out at
    least so far from themselves. ``None`` for greedy ones, and where nothing was drafted."""

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return self.divergence is None and (self.p_value is None or self.p_value >= SIGNIFICANCE)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``."""
        divergence = tree["divergence"]
        return cls(**{**tree, "divergence": divergence and Divergence(**divergence)})
