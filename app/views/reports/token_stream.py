"""The per-token view of an answer, coloured by how long each token took or by how sure the model was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import streamlit as st

from app import units
from app.store.runs.timeline import Timeline
from app.views.shared.segments import Hue, Scale, Segment, show_segments


class ColourBy(StrEnum):
    """What the tint behind a token stands for."""

    LATENCY = "latency"
    CONFIDENCE = "confidence"


@dataclass(frozen=True, slots=True)
class TokenView:
    """A timeline made ready to draw."""

    title: str
    scale: Scale
    segments: tuple[Segment, ...]


def token_view(timeline: Timeline, colour_by: ColourBy) -> TokenView:
    """Colour and explain every token of a timeline.

    Latency is each token's ITL on a scale from zero to the slowest percent (at least twice the median, so that
    an even stream looks even); the first token has a TTFT and no ITL. Confidence is coloured by what is
    missing to certainty, so that doubtful tokens stand out.
    """
    gaps = gaps_s(timeline.t_s)
    if colour_by is ColourBy.LATENCY:
        top = _scale_top([gap for gap in gaps if gap is not None])
        strengths = [None if gap is None or not top else gap / top for gap in gaps]
        scale = Scale("0 ms", f"{units.seconds(top)} or more", Hue.BLUE)
        title = "Inter-token latency (ITL)"
    else:
        strengths = [None if math.isnan(logprob) else 1 - math.exp(min(logprob, 0.0)) for logprob in timeline.logprob]
        scale = Scale("100 %", "0 %", Hue.ORANGE)
        title = "Probability of the token"
    segments = tuple(
        Segment(text, strength, tooltip=_tooltip(timeline, place, gaps[place]))
        for place, (text, strength) in enumerate(zip(timeline.texts, strengths, strict=True))
    )
    return TokenView(title, scale, segments)


def show_tokens(timeline: Timeline, *, key: str, label: str = "Answer, token by token") -> None:
    """Draw a timeline with a switch between the two ways to colour it.

    Args:
        timeline: The tokens; there must be at least one.
        key: The element's key, unique on the page.
        label: What the text is, for a screen reader.
    """
    colour_by = st.segmented_control(
        "Colour by",
        list(ColourBy),
        default=ColourBy.LATENCY,
        required=True,
        format_func=str.capitalize,
        key=f"{key}-colour",
        help="Point at a token, or focus the text and use the arrow keys, to see its figures.",
    )
    view = token_view(timeline, ColourBy(colour_by or ColourBy.LATENCY))
    show_segments(view.segments, key=f"{key}-text", label=label, title=view.title, scale=view.scale)


def gaps_s(times_s: Sequence[float]) -> list[float | None]:
    """The gap before each token in seconds; ``None`` for the first, which has nothing before it."""
    return [None, *(later - earlier for earlier, later in pairwise(times_s))][: len(times_s)]


def _scale_top(gaps: list[float]) -> float:
    if not gaps:
        return 0.0
    ranked = sorted(gaps)
    nearly_slowest = ranked[math.ceil(0.99 * len(ranked)) - 1]
    return max(nearly_slowest, 2 * ranked[len(ranked) // 2])


def _tooltip(timeline: Timeline, place: int, gap: float | None) -> tuple[str, ...]:
    lines = [
        f"{timeline.texts[place]!r}" + (f" · id {timeline.token_ids[place]}" if timeline.token_ids else ""),
        f"{units.seconds(timeline.t_s[place])} after arrival (token {place + 1})",
        f"ITL {units.seconds(gap)}" if gap is not None else f"TTFT {units.seconds(timeline.t_s[place])}",
        f"Probability {units.probability(timeline.logprob[place])}",
        f"Entropy {units.nats(timeline.entropy[place])}",
    ]
    if timeline.source[place] != "target":
        lines.append(f"Source: {timeline.source[place]}")
    tier = timeline.tier[place]
    if tier is not None:
        lines.append(f"Model: {tier}")
    return tuple(lines)
