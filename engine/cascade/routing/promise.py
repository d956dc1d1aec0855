"""What is asked of a threshold, and what it promises: the part of a choice that travels with a profile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from engine.errors import InvalidRequestError, RouterProfileError

PromiseKind = Literal["quality", "cost", "risk"]
CONFIDENCE = 0.9
"""Of a promise, where nothing else is asked: at most one sample of prompts in ten leads to one that does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What was asked of a threshold when it was chosen."""

    kind: PromiseKind
    """``quality``: at least this share of the large model's score. ``cost``: at most this share of its cost. ``risk``:
    at most this share of all prompts keeps a small answer where the large one is better."""
    share: float
    """0 to 1; a cost may be above 1."""
    confidence: float
    """How sure it is where it is shown: the chance, over the prompts that chose, that it is kept."""
    shown: bool
    """Whether the prompts that chose are enough to say so. Where they are not, the threshold is what they look like."""
    more_prompts: int | None = None
    """About how many more would do, by estimate; ``None`` where none are missing, or no number would do."""

    def __post_init__(self) -> None:
        _check(self.kind in get_args(PromiseKind), f"A promise of {self.kind!r} is not known.")
        _check(math.isfinite(self.share) and self.share > 0, "A promise's share must be above 0.")
        _check(0 < self.confidence < 1, "A promise's confidence must be between 0 and 100 %.")
        _check(type(self.shown) is bool, "A promise is shown or not.")
        more = self.more_prompts
        _check(more is None or (type(more) is int and more > 0 and not self.shown), "A promise misses no such number.")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "kind": self.kind,
            "share": self.share,
            "confidence": self.confidence,
            "shown": self.shown,
            "more_prompts": self.more_prompts,
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            RouterProfileError: a value is out of range.
            KeyError, TypeError, ValueError: a value is missing or of another type.
        """
        return cls(
            kind=tree["kind"],
            share=float(tree["share"]),
            confidence=float(tree["confidence"]),
            shown=tree["shown"],
            more_prompts=tree.get("more_prompts"),
        )


@dataclass(frozen=True, slots=True)
class KeepQuality:
    """Keep at least this share of the large model's score, at least cost."""

    share: float
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        _demand(0 < self.share <= 1, "The share of the large model's score must be above 0 and at most 100 %.")
        _demand(0 < self.confidence < 1, "The confidence must be between 0 and 100 %.")


@dataclass(frozen=True, slots=True)
class SpendAtMost:
    """Spend at most this share of the large model's cost, at best quality.

    The certificate takes the dearest costs seen (where the dearest tenth of the prompts begin) for the highest that any
    prompt could have. Costs have no such bound: prompts dearer than all that were recorded may break the promise more
    often than the confidence says.
    """

    share: float
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        _demand(0 < self.share < math.inf, "The share of the large model's cost must be above 0.")
        _demand(0 < self.confidence < 1, "The confidence must be between 0 and 100 %.")


@dataclass(frozen=True, slots=True)
class RiskAtMost:
    """Certify that at most this share of all prompts keeps a small answer where the large one is better."""

    alpha: float
    delta: float = 0.05
    """How often the certificate may be wrong: confidence is 1 − δ."""

    def __post_init__(self) -> None:
        _demand(0 < self.alpha < 1, "The risk must be between 0 and 100 %.")
        _demand(0 < self.delta < 1, "The confidence must be between 0 and 100 %.")

    @property
    def share(self) -> float:
        """The risk."""
        return self.alpha

    @property
    def confidence(self) -> float:
        """1 − δ."""
        return round(1 - self.delta, 9)


Target = KeepQuality | SpendAtMost | RiskAtMost


def promise_of(target: Target, *, shown: bool, more_prompts: int | None = None) -> Promise:
    """What a threshold chosen for a target promises; prompts are missing only where it is not shown."""
    kinds: dict[type[Target], PromiseKind] = {KeepQuality: "quality", SpendAtMost: "cost", RiskAtMost: "risk"}
    return Promise(
        kind=kinds[type(target)],
        share=target.share,
        confidence=target.confidence,
        shown=shown,
        more_prompts=None if shown else more_prompts,
    )


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise RouterProfileError(message)


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidRequestError(message)
