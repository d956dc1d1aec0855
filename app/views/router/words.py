"""How the Router lab writes figures with their intervals, and what a threshold means in words."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import units
from app.literal import literal
from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from engine.cascade import Figure
from engine.cascade.routing.signals import FIRST_TOKENS

INTERVAL = "The small print is the 95 % interval."


def between(low: float, high: float, write: Callable[[float], str] = units.percent) -> str:
    """An interval: "72 to 78 %"; one unit where both ends have the same."""
    first, last = write(low), write(high)
    unit = last.rpartition(" ")[2]
    return f"{first.removesuffix(f' {unit}') if ' ' in last else first} to {last}"


def reporting_prompts(study: Study) -> str:
    """Which prompts held-out figures are about: "On the 225 prompts that had no part in choosing"."""
    everything = len(study.data)
    if everything < 2:
        return "On the only prompt"
    return f"On the {units.counted(everything // 2, 'prompt')} of {everything:,} that had no part in choosing"


def metric(
    label: str,
    figure: Figure | None,
    write: Callable[[float], str],
    *,
    help: str,
    missing: str = "undefined",
    of_all: Figure | None = None,
) -> None:
    """One figure with its interval below it; on hover, the figure of all prompts where there is another."""
    if of_all is not None:
        help = f"{help}\n\nOn all prompts: {literal(_both(of_all, write))}."
    if figure is None:
        st.metric(label, units.MISSING, missing, delta_color="off", delta_arrow="off", help=help)
        return
    shown = between(figure.low, figure.high, write)
    st.metric(label, literal(write(figure.value)), literal(shown), delta_color="off", delta_arrow="off", help=help)


def with_interval(figure: Figure | None, write: Callable[[float], str]) -> str:
    """A figure in a table: "0.97× (0.93× to 1.01×)"."""
    return units.MISSING if figure is None else _both(figure, write)


def _both(figure: Figure, write: Callable[[float], str]) -> str:
    return f"{write(figure.value)} ({between(figure.low, figure.high, write)})"


def flipped(figure: Figure | None) -> Figure | None:
    """What is left of one: a saving from a cost."""
    return None if figure is None else Figure(value=1 - figure.value, low=1 - figure.high, high=1 - figure.low)


def signed_percent(value: float | None) -> str:
    """A share that may be below 0: "−5 %"."""
    return units.percent(value).replace("-", "−")


def cost_of(study: Study) -> Callable[[float], str]:
    """How the study's costs are written: seconds, or money."""
    costs = study.costs
    if costs is None or costs.in_seconds:
        return units.seconds
    return lambda amount: units.money(amount, costs.unit)


def scaled(figure: Figure, by: float) -> Figure:
    """A figure in another unit."""
    return Figure(value=figure.value * by, low=figure.low * by, high=figure.high * by)


def in_words(study: Study, threshold: float, share: float, unknown: int) -> str:
    """What a threshold does."""
    up, stay = units.percent(share), units.percent(1 - share)
    match study.choice:
        case Choice.ESCALATE | Choice.ESCALATE_LEARNED:
            words = f"the {up} of prompts the small model is least sure of go to the large one, after its own try."
        case Choice.ESCALATE_EARLY:
            words = f"the {up} of prompts the small model doubts most after {FIRST_TOKENS} tokens go to the large one."
        case Choice.READ_LEARNED | Choice.ROUTE_LEARNED if study.router.reads_first:
            words = (
                f"the {up} of prompts that look hardest, to the small model too once it has read them, go to the large "
                f"model, {stay} to the small one."
            )
        case Choice.READ_LEARNED | Choice.ROUTE_LEARNED:
            words = f"the {up} of prompts that look hardest go to the large model at once, {stay} to the small one."
        case Choice.HYBRID_LEARNED:
            at_once = units.percent(float((~study.data.tried).mean()))
            words = (
                f"{up} of prompts go to the large model: {at_once} of all at once, for how they look; the others "
                "after the small model was not sure enough of its own answer."
            )
        case Choice.CHANCE:
            words = f"{up} of prompts, drawn by lot, go to the large model."
        case Choice.ORACLE:
            words = f"the {up} of prompts that gain most by it go to the large model. Nobody can know them beforehand."
    if unknown:
        words += f" {units.counted(unknown, 'prompt')} without a score always went up."
    return f"**{threshold:.3f}:** {words}"
