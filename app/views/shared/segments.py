"""Text drawn piece by piece, each piece with its colour, its mark and its tooltip.

The per-token view and the word-level diff are both drawn by this one component. It takes its colours from
the theme's chart palette, so that it reads in light and dark; strength is the opacity of one hue, and
categories always carry a line (under, through, dotted, double) besides their colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent
_HTML = """
<div class="segments">
  <div class="legend"></div>
  <div class="text" tabindex="0" role="group"></div>
  <div class="tip" role="status" hidden></div>
</div>
"""

_component = st.components.v2.component(
    "gearbox_segments",
    html=_HTML,
    css=(_HERE / "segments.css").read_text(encoding="utf-8"),
    js=(_HERE / "segments.js").read_text(encoding="utf-8"),
)


class Hue(IntEnum):
    """A colour of the theme's chart palette (its place in ``chartCategoricalColors``)."""

    BLUE = 0
    ORANGE = 1
    GREEN = 2
    PURPLE = 3
    GRAY = 6


class Line(StrEnum):
    """A mark that can be told without seeing its colour."""

    NONE = "none"
    UNDERLINE = "underline"
    STRIKE = "strike"
    DOTTED = "dotted"
    DOUBLE = "double"


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of piece: how it looks and what the legend calls it."""

    label: str
    hue: Hue
    line: Line = Line.NONE
    strength: float = 0.5
    """Opacity of the tint behind the text, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What the strength of the tint stands for: the labels at its two ends, units included."""

    low: str
    high: str
    hue: Hue = Hue.BLUE


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of the text. Where it has both a category and a strength, the category gives the line and the
    strength the tint."""

    text: str
    strength: float | None = None
    """0 (the scale's low end) to 1 (its high end); ``None`` is not coloured."""
    category: Category | None = None
    tooltip: tuple[str, ...] = ()
    """Lines shown on hover and on keyboard focus."""


def show_segments(
    segments: Sequence[Segment],
    *,
    key: str,
    label: str,
    title: str = "",
    scale: Scale | None = None,
    categories: Sequence[Category] = (),
) -> None:
    """Draw the pieces with a legend above them.

    Args:
        segments: The pieces in reading order; together they are the text, which stays selectable.
        key: The element's key, unique on the page.
        label: What the text is, for a screen reader.
        title: What the colour means; heads the legend.
        scale: The ends of the colour scale, where pieces have a strength.
        categories: The kinds in the legend. Every segment's category must be among them.

    Raises:
        ValueError: a segment's category is not in the legend.
    """
    _component(key=key, data=payload(segments, label=label, title=title, scale=scale, categories=categories))


def payload(
    segments: Sequence[Segment],
    *,
    label: str,
    title: str = "",
    scale: Scale | None = None,
    categories: Sequence[Category] = (),
) -> dict[str, Any]:
    """The JSON values behind :func:`show_segments`, column by column.

    Raises:
        ValueError: a segment's category is not in ``categories``.
    """
    places = {category: place for place, category in enumerate(categories)}
    unknown = {s.category.label for s in segments if s.category is not None and s.category not in places}
    if unknown:
        raise ValueError(f"Categories without a legend entry: {', '.join(sorted(unknown))}")
    return {
        "label": label,
        "legend": {
            "title": title,
            "scale": asdict(scale) if scale else None,
            "categories": [asdict(category) for category in categories],
        },
        "texts": [s.text for s in segments],
        "strengths": [None if s.strength is None else round(min(max(s.strength, 0.0), 1.0), 3) for s in segments],
        "categories": [places[s.category] if s.category else None for s in segments],
        "tooltips": [list(s.tooltip) for s in segments],
    }
