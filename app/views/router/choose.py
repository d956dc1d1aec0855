"""What the Router lab looks at: a data set, two of its tiers, a router between them."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.literal import literal
from app.router.lab import DataSet, RouterLab
from app.router.scoring import Choice
from app.router.study import Study
from app.session.options import ChosenOption
from app.session.router import CHOICE, DATA_SET, STRONG, WEAK
from app.views.shared.errors import show_error
from engine.cascade.signals import FIRST_TOKENS
from engine.errors import GearboxError

_HELP = {
    Choice.ESCALATE: "The small model answers; where its own token probabilities are low, the large one answers again. "
    "Needs no data.",
    Choice.ESCALATE_LEARNED: "The same, on two dozen signals of the answer, weighed by a logistic model.",
    Choice.ESCALATE_EARLY: f"The same after {FIRST_TOKENS} tokens: less is written in vain, and less is known.",
    Choice.ROUTE_LEARNED: "Decides on the prompt's text alone, before any model reads it.",
    Choice.READ_LEARNED: "Decides once the small model has read the prompt, by its text, the first token's entropy "
    "and the model's hidden state. A prompt that goes up is read twice.",
    Choice.HYBRID_LEARNED: "Decides on the prompt where that is sure; else the small model tries and is judged.",
    Choice.CHANCE: "By lot: what every router must beat.",
    Choice.ORACLE: "Knows both scores: what no router can beat.",
}


def choose_data_set(lab: RouterLab, names: Mapping[str, str]) -> DataSet | None:
    """The data set to look at, of those named; ``None`` where there is none, or it cannot be read."""
    if not names:
        return None
    DATA_SET.prepare(names)
    chosen = st.selectbox(
        "Data set",
        list(names),
        key=DATA_SET.key,
        format_func=lambda id: names.get(id, id),
        help="Prompts, and what each tier answered to them.",
        bind="query-params",
    )
    try:
        return lab.data_set(chosen)
    except GearboxError as error:
        show_error(error)
        return None


def choose_study(lab: RouterLab, data: DataSet, place: DeltaGenerator) -> Study | None:
    """The tiers and the router, in ``place``; ``None`` where two tiers cannot be compared, which the page then says."""
    tiers = data.tiers
    if len(tiers) < 2:
        only = f"Only {tiers[0]} is recorded" if tiers else "No tier is recorded"
        st.info(
            f"{literal(only)} in “{literal(data.name)}”. A router is judged on what two tiers "
            "answered: record them under Data."
        )
        return None
    with place:
        weak = _choose_tier(WEAK, "Small", tiers[:-1], tiers[-2])
        larger = tiers[tiers.index(weak) + 1 :]
        strong = _choose_tier(STRONG, "Large", larger, larger[-1])
        choice = st.selectbox(
            "Router",
            list(Choice),
            key=CHOICE,
            help="\n".join(f"- **{name}**: {text}" for name, text in _HELP.items()),
            bind="query-params",
        )
    try:
        study = lab.study(data, weak, strong, Choice(choice or Choice.ESCALATE))
    except GearboxError as error:
        show_error(error)
        return None
    _say_what_reports(study)
    return study


def _choose_tier(place: ChosenOption, label: str, tiers: tuple[str, ...], default: str) -> str:
    place.prepare(tiers, default)
    words = "quicker" if label == "Small" else "slower"
    return str(
        st.selectbox(
            label,
            tiers,
            key=place.key,
            help=f"The {words} tier. Tiers are in the order of their mean time for an answer.",
            bind="query-params",
        )
    )


def _say_what_reports(study: Study) -> None:
    parts = [f"{len(study.data):,} prompts report"]
    if study.learned_from:
        parts.append(f"learned from {study.learned_from:,} others")
    if study.left_out:
        parts.append(f"{study.left_out:,} left out, for lack of a scored answer of both tiers")
    st.caption(f":material/fact_check: {' · '.join(parts)}")
    if study.reason:
        st.warning(f"Nothing was learned, so the score that needs no data is shown. {literal(study.reason)}")
