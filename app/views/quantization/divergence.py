"""An answer coloured by how far the cheaper weights are from the 16-bit model, token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import streamlit as st

from app import units
from app.views.reports.token_stream import TokenView
from app.views.shared.segments import Category, Hue, Line, Scale, Segment, show_segments
from engine import AnswerDivergence, AnswerToken, FirstDifference, TokenChance

FLIP = Category("another likeliest token (top-1 flip)", Hue.ORANGE, Line.UNDERLINE, 0.0)
PARTING = Category("here the greedy answers part", Hue.ORANGE, Line.DOUBLE, 0.0)
_LEAST_TOP_KLD = 0.1
_LEAST_TOP_DELTA = 0.1
_CLOSE_ODDS = 1.5


class ColourBy(StrEnum):
    """What the tint behind a token stands for."""

    KLD = "KLD"
    DELTA_P = "Δp"


def divergence_view(divergence: AnswerDivergence, precision: str, colour_by: ColourBy) -> TokenView:
    """Colour and explain every token of an answer.

    The scale ends at the token that is 99 % from the bottom, and at no less than 0.1 nats or 10 points, so that
    an answer that hardly diverges looks it.
    """
    if colour_by is ColourBy.KLD:
        values = [token.kld for token in divergence.tokens]
        top = _scale_top(values, _LEAST_TOP_KLD)
        title, scale = "KLD from the 16-bit model", Scale("0 nats", f"{units.divergence(top)} or more", Hue.BLUE)
    else:
        values = [abs(token.delta_p) for token in divergence.tokens]
        top = _scale_top(values, _LEAST_TOP_DELTA)
        title = "Δp: how much likelier or less likely than in 16 bits"
        scale = Scale("0 points", f"{top * 100:.0f} points or more", Hue.BLUE)
    parting = divergence.first_difference.index if divergence.first_difference else None
    segments = tuple(
        Segment(
            token.text,
            value / top,
            category=PARTING if place == parting else FLIP if token.flip else None,
            tooltip=_tooltip(token, place, precision),
        )
        for place, (token, value) in enumerate(zip(divergence.tokens, values, strict=True))
    )
    return TokenView(title, scale, segments)


def show_divergence(divergence: AnswerDivergence, precision: str, *, key: str) -> None:
    """Draw the answer with a switch between the two ways to colour it."""
    colour_by = st.segmented_control(
        "Colour by",
        list(ColourBy),
        default=ColourBy.KLD,
        required=True,
        format_func=str,
        key=f"{key}-colour",
        help="Point at a token, or focus the text and use the arrow keys, to see both models' five likeliest tokens.",
    )
    view = divergence_view(divergence, precision, ColourBy(colour_by or ColourBy.KLD))
    show_segments(
        view.segments,
        key=f"{key}-text",
        label=f"Answer in {precision}, compared with 16 bits token by token",
        title=view.title,
        scale=view.scale,
        categories=(FLIP, PARTING) if divergence.first_difference else (FLIP,),
    )


def describe_parting(divergence: AnswerDivergence, precision: str) -> str:
    """Where the two greedy answers part, and how close that call was, in words."""
    parting = divergence.first_difference
    if parting is None:
        return f"In 16 bits the model gives the same answer, token by token, over all {len(divergence.tokens)} tokens."
    return (
        f"The greedy answers part at token {parting.index + 1}: {precision} wrote {_chance(parting.candidate_choice)}, "
        f"16 bits would have written {_chance(parting.reference_choice)}. {_closeness(parting, precision)}"
    )


def _closeness(parting: FirstDifference, precision: str) -> str:
    odds = math.exp(min(parting.reference_gap, 50.0))
    call = "A close call" if odds < _CLOSE_ODDS else "Not a close call"
    return (
        f"{call}: to the 16-bit model its own token was {units.ratio(odds)} as likely as the other "
        f"(logits {parting.reference_gap:.2f} apart, in {precision} {parting.candidate_gap:.2f} the other way)."
    )


def _chance(choice: TokenChance) -> str:
    return f"{choice.text!r} ({units.percent(choice.probability, 1)})"


def _scale_top(values: Sequence[float], least: float) -> float:
    ranked = sorted(values)
    return max(ranked[math.ceil(0.99 * len(ranked)) - 1], least)


def _tooltip(token: AnswerToken, place: int, precision: str) -> tuple[str, ...]:
    pairs = zip(token.reference_top, token.candidate_top, strict=True)
    return (
        f"{token.text!r} · id {token.token_id}",
        f"Token {place + 1} · KLD {units.divergence(token.kld)} · Δp {units.points(token.delta_p)}",
        f"Probability {units.percent(token.p, 1)} in 16 bits, {units.percent(token.q, 1)} in {precision}",
        f"Likeliest in 16 bits | in {precision}:",
        *(f"{rank}. {_chance(mine)} | {_chance(theirs)}" for rank, (mine, theirs) in enumerate(pairs, start=1)),
    )
