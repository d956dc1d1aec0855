"""Whether an answer written with drafts is what plain decoding gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

SIGNIFICANCE = 0.001
"""A distribution test that less often than this would come out so by chance has failed."""

DRAWS_AS_PLAIN = "draws_as_plain"
"""In a run's environment: drafts did not change which random numbers its tokens were drawn with."""


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
    """``None`` where there is none."""
    p_value: float | None = None
    """Of sampled answers that were checked when drafts changed which tokens were drawn, and only their distribution
    could be tested: how likely it comes out at least so far from the model's. ``None`` for all others."""

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against it."""
        return self.divergence is None and (self.p_value is None or self.p_value >= SIGNIFICANCE)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``."""
        divergence = tree["divergence"]
        return cls(**{**tree, "divergence": divergence and Divergence(**divergence)})
