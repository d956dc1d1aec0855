"""What the drafters of speculative decoding are called."""

from __future__ import annotations

from collections.abc import Sequence

from engine.types import Drafter, Precision, SpeculationConfig

AUTO, NGRAM = str(Drafter.AUTO), str(Drafter.NGRAM)
_COPY, _MODEL = f"{Drafter.SELF} ", f"{Drafter.DRAFT} "


def drafter_name(speculation: SpeculationConfig) -> str:
    """Who drafts, in a few words: "auto", "n-grams", "int4 copy", "qwen2.5-coder-0.5b int4"."""
    match speculation.drafter:
        case Drafter.AUTO:
            return "auto"
        case Drafter.NGRAM:
            return "n-grams"
        case Drafter.SELF:
            return f"{speculation.draft_precision} copy"
        case Drafter.DRAFT:
            return f"{speculation.draft_model} {speculation.draft_precision}"


def drafter_label(key: str) -> str:
    """A drafter as a choice reads."""
    speculation = drafter_of(key)
    match speculation.drafter:
        case Drafter.AUTO:
            return "Auto"
        case Drafter.NGRAM:
            return "N-grams"
        case Drafter.SELF:
            return f"{speculation.draft_precision} copy of itself"
        case Drafter.DRAFT:
            return drafter_name(speculation)


def drafter_keys(model: str, installed: Sequence[str]) -> list[str]:
    """Every drafter that there could be for a model, whether it suits or not."""
    copies = [f"{_COPY}{precision}" for precision in (Precision.INT4, Precision.NF4)]
    return [AUTO, NGRAM, *copies, *(f"{_MODEL}{name}" for name in installed if name != model)]


def speculation_name(speculation: SpeculationConfig) -> str:
    """The gear in a few words: "drafts: n-grams", "drafts: int4 copy, γ 4"."""
    gamma = "" if speculation.gamma is None else f", γ {speculation.gamma}"
    return f"drafts: {drafter_name(speculation)}{gamma}"


def drafter_key(speculation: SpeculationConfig) -> str:
    """Who drafts as a word that a widget can keep; :func:`drafter_of` turns it back."""
    match speculation.drafter:
        case Drafter.SELF:
            return f"{_COPY}{speculation.draft_precision}"
        case Drafter.DRAFT:
            return f"{_MODEL}{speculation.draft_model}"
        case _:
            return str(speculation.drafter)


def drafter_of(key: str, gamma: int | None = None) -> SpeculationConfig:
    """The gear with the drafter of a key. A smaller model drafts in int4.

    Raises:
        InvalidRequestError: γ is out of range.
    """
    if key.startswith(_COPY):
        return SpeculationConfig.with_self(Precision(key.removeprefix(_COPY)), gamma)
    if key.startswith(_MODEL):
        return SpeculationConfig.with_model(key.removeprefix(_MODEL), gamma=gamma)
    return SpeculationConfig(drafter=Drafter(key), gamma=gamma)
