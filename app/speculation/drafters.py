"""What the drafters of speculative decoding are called, and the words that a widget keeps for them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.types import COPY_PRECISIONS, DRAFT_PRECISION, Drafter, Precision, SpeculationConfig

AUTO, NGRAM = str(Drafter.AUTO), str(Drafter.NGRAM)
WITHOUT_WEIGHTS = tuple(str(drafter) for drafter in Drafter if not drafter.info.has_precision)
"""The keys of drafters that any model has."""


def drafter_name(speculation: SpeculationConfig) -> str:
    """Who drafts, in a few words: "auto", "n-grams", "int4 copy", "qwen2.5-coder-0.5b int4"."""
    return _filled(speculation.drafter.info.name, speculation)


def drafter_label(key: str) -> str:
    """A drafter as a choice reads."""
    speculation = drafter_of(key)
    return _filled(speculation.drafter.info.label, speculation)


def reported_name(drafter: str) -> str:
    """Who drafted, by the name in a report: a model with its precision as it stands there, "ngram" as "n-grams"."""
    return Drafter(drafter).info.name if drafter in list(Drafter) else drafter


def drafters_help() -> str:
    """What each of them is, as paragraphs in Markdown."""
    return "\n\n".join(drafter.info.help for drafter in Drafter)


def drafter_keys(model: str, installed: Sequence[str]) -> list[str]:
    """Every drafter that there could be for a model, whether it suits or not."""
    keys: list[str] = []
    for drafter in Drafter:
        if drafter.info.copies_model:
            keys += (f"{drafter} {precision}" for precision in COPY_PRECISIONS)
        elif drafter.info.needs_model:
            keys += (f"{drafter} {name}" for name in installed if name != model)
        else:
            keys.append(str(drafter))
    return keys


def speculation_name(speculation: SpeculationConfig) -> str:
    """The gear in a few words: "drafts: n-grams", "drafts: int4 copy, γ 4"."""
    gamma = "" if speculation.gamma is None else f", γ {speculation.gamma}"
    return f"drafts: {drafter_name(speculation)}{gamma}"


def drafter_key(speculation: SpeculationConfig) -> str:
    """Who drafts as a word that a widget can keep; :func:`drafter_of` turns it back."""
    drafter = speculation.drafter
    if drafter.info.copies_model:
        return f"{drafter} {speculation.draft_precision}"
    return f"{drafter} {speculation.draft_model}" if drafter.info.needs_model else str(drafter)


def drafter_of(key: str, gamma: int | None = None) -> SpeculationConfig:
    """The gear with the drafter of a key. A smaller model drafts in int4.

    Raises:
        InvalidRequestError: γ is out of range.
    """
    name, _, rest = key.partition(" ")
    drafter = Drafter(name)
    precision = DRAFT_PRECISION if drafter.info.needs_model else None
    return SpeculationConfig(
        drafter=drafter,
        draft_model=rest if drafter.info.needs_model else None,
        draft_precision=Precision(rest) if drafter.info.copies_model else precision,
        gamma=gamma,
    )


def _filled(template: str, speculation: SpeculationConfig) -> str:
    return template.format(model=speculation.draft_model, precision=speculation.draft_precision)
