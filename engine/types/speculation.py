"""The speculative decoding gear: who drafts, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, assert_never

from engine.types.precision import COPY_PRECISIONS, Precision
from engine.types.requirement import keep_valid_text, require

MAX_GAMMA = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DrafterInfo:
    """What a drafter is. What drafts is built in :mod:`engine.speculation`."""

    name: str
    """In a few words, with ``{model}`` and ``{precision}`` for what is to be chosen."""
    label: str
    """The same as a choice reads."""
    help: str
    """For the reader, in Markdown, on one line."""
    copies_model: bool = False
    """Whether a copy of the model in another precision drafts."""
    needs_model: bool = False
    """Whether another model drafts."""
    needs_kv: bool = False
    """Whether it drafts only where the model keeps its KV."""
    prior: float | None = None
    """First guess of the acceptance; ``None`` where that depends on the text, by the length of the match."""

    @property
    def has_precision(self) -> bool:
        """Whether weights draft, held in a precision that is to be chosen."""
        return self.copies_model or self.needs_model


class Drafter(StrEnum):
    """Who proposes tokens for the model to verify."""

    AUTO = "auto"
    """Any of the others: those that need no weights, and those whose weights are in memory."""
    NGRAM = "ngram"
    SELF = "self"
    DRAFT = "draft"

    @property
    def info(self) -> DrafterInfo:
        """What it is."""
        match self:
            case Drafter.AUTO:
                return DrafterInfo(
                    name="auto",
                    label="Auto",
                    help="**Auto**: whichever of those in memory is expected to be the fastest, step by step.",
                )
            case Drafter.NGRAM:
                return DrafterInfo(
                    name="n-grams",
                    label="N-grams",
                    help="**N-grams**: what followed the last few tokens when they stood in the text before. Free.",
                )
            case Drafter.SELF:
                return DrafterInfo(
                    name="{precision} copy",
                    label="{precision} copy of itself",
                    help="**A copy of itself** in 4 bits reads and writes the same KV.",
                    copies_model=True,
                    needs_kv=True,
                    prior=0.8,
                )
            case Drafter.DRAFT:
                return DrafterInfo(
                    name="{model} {precision}",
                    label="{model} {precision}",
                    help="**A smaller model** must have the same tokenizer.",
                    needs_model=True,
                    needs_kv=True,
                    prior=0.6,
                )
            case _:
                assert_never(self)

    @property
    def text_drafters(self) -> tuple[Drafter, ...]:
        """Those that draft from the text alone where this one is asked for: itself, all of them, or none."""
        if self is Drafter.AUTO:
            return TEXT_DRAFTERS
        return () if self.info.has_precision else (self,)


TEXT_DRAFTERS = tuple(each for each in Drafter if each is not Drafter.AUTO and not each.info.has_precision)
"""Drafters that need no weights."""
DRAFT_PRECISION = Precision.INT4
"""What weights that draft are held in unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculationConfig:
    """The speculative decoding gear (arXiv:2211.17192). Its answers are the model's own."""

    drafter: Drafter = Drafter.AUTO
    draft_model: str | None = None
    """The model of a drafter that needs one."""
    draft_precision: Precision | None = None
    """What the weights that draft are held in."""
    gamma: int | None = None
    """Tokens drafted before each verification; ``None`` lets the controller choose, and pause where drafting costs
    more than it saves."""

    def __post_init__(self) -> None:
        keep_valid_text(self, "draft_model")
        require(
            self.gamma is None or 0 <= self.gamma <= MAX_GAMMA, f"Drafted tokens (γ) must be between 0 and {MAX_GAMMA}."
        )
        info = self.drafter.info
        require(
            info.has_precision == (self.draft_precision is not None),
            "A drafter that is a model needs a precision."
            if info.has_precision
            else f"The drafter {self.drafter} has no precision to choose.",
        )
        require(
            not info.copies_model or self.draft_precision in COPY_PRECISIONS,
            f"A model drafts for itself in {' or '.join(COPY_PRECISIONS)}.",
        )
        require(
            info.needs_model == bool(self.draft_model and self.draft_model.strip()),
            "Choose the smaller model that drafts."
            if info.needs_model
            else f"The drafter {self.drafter} has no model to choose.",
        )

    @classmethod
    def with_self(cls, precision: Precision = DRAFT_PRECISION, gamma: int | None = None) -> Self:
        """A 4-bit copy of the model drafts."""
        return cls(drafter=Drafter.SELF, draft_precision=precision, gamma=gamma)

    @classmethod
    def with_model(cls, model: str, precision: Precision = DRAFT_PRECISION, gamma: int | None = None) -> Self:
        """A smaller model drafts."""
        return cls(drafter=Drafter.DRAFT, draft_model=model, draft_precision=precision, gamma=gamma)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of ``asdict``."""
        precision = tree["draft_precision"]
        return cls(
            drafter=Drafter(tree["drafter"]),
            draft_model=tree["draft_model"],
            draft_precision=None if precision is None else Precision(precision),
            gamma=tree["gamma"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DrafterChoice:
    """One that could draft for a model, or the reason why it cannot."""

    name: str
    """``ngram``, or the model that drafts with its precision."""
    speculation: SpeculationConfig | None
    """The gear with this drafter; ``None`` if it cannot draft."""
    why_not: str | None = None
    """For the user; ``None`` if it can draft."""
    relative_cost: float | None = None
    """Seconds of a drafted token / of the model's own: c of the formula."""
    cost_is_measured: bool = False
    """Whether both were timed here; otherwise it is estimated from the bytes of their weights."""
    expected_acceptance: float | None = None
    """First guess of the share of its tokens that are accepted, before anything was measured."""
    expected_speedup: float | None = None
    """What the formula gives for these at the best γ, up to 8."""
    expected_gamma: int | None = None
