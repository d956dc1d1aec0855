"""What the Router lab looks at: a data set, two of its tiers, a router between them."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import units
from app.literal import literal
from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.lab import RouterLab
from app.router.recorded.data_sets import DataSet
from app.session.address import put
from app.session.labs.router import (
    CHOICE,
    DATA_QUERY,
    DATA_SET,
    STRONG,
    WEAK,
    prepare_data_set,
    prepare_tiers,
    short_id,
)
from app.session.options import ChosenOption
from app.views.shared.errors import show_error
from engine.cascade.routing.signals import FIRST_TOKENS
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


def data_set_on_view(lab: RouterLab, names: Mapping[str, str]) -> DataSet | None:
    """The data set that the address names or that was chosen last, of those named; ``None`` where there is none, or it
    cannot be read."""
    if not names:
        return None
    gone = prepare_data_set(names)
    chosen = str(st.session_state[DATA_SET.key])
    put(DATA_QUERY, short_id(chosen))
    if gone:
        st.warning(
            f"The data set {literal(gone)} is not here, or not yours to see: this is “{literal(names[chosen])}”.",
            icon=":material/database_off:",
        )
    try:
        return lab.data_set(chosen)
    except GearboxError as error:
        show_error(error)
        return None


def choose_data_set(names: Mapping[str, str]) -> None:
    """The box in which another one is chosen; :func:`data_set_on_view` comes before it."""
    if names:
        st.selectbox(
            "Data set",
            list(names),
            key=DATA_SET.key,
            format_func=lambda id: names.get(id, id),
            help="Prompts, and what each tier answered to them.",
            persist_state="session",
        )


def choose_study(lab: RouterLab, data: DataSet, place: DeltaGenerator) -> Study | None:
    """The tiers and the router, in ``place``; ``None`` where two tiers cannot be compared, which the page then says."""
    tiers = data.tiers
    if len(tiers) < 2:
        only = f"Only {tiers[0]} is recorded" if tiers else "No tier is recorded"
        st.info(
            f"{literal(only)} in “{literal(data.name)}”. A router is judged on what two tiers "
            "answered: record them under Record."
        )
        return None
    prepare_tiers(tiers, tiers[-2], tiers[-1])
    with place:
        weak = _choose_tier(WEAK, "Small", tiers, tiers[-2])
        others = tuple(tier for tier in tiers if tier != weak)
        strong = _choose_tier(STRONG, "Large", others, _first_above(tiers, weak))
        CHOICE.prepare(list(Choice))
        choice = st.selectbox(
            "Router",
            list(Choice),
            key=CHOICE.key,
            help="\n".join(f"- **{name}**: {text}" for name, text in _HELP.items()),
            persist_state="session",
        )
        CHOICE.into_address()
    try:
        study = lab.study(data, weak, strong, Choice(choice or Choice.ESCALATE))
    except GearboxError as error:
        show_error(error)
        return None
    if tiers.index(weak) > tiers.index(strong):
        st.caption(
            f":material/swap_horiz: {literal(weak)} is the larger of the two, and answers first here: you swapped them."
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        _say_what_reports(study, data)
        st.button(
            "Swap tiers",
            key="router-swap",
            icon=":material/swap_horiz:",
            type="tertiary",
            on_click=_swap,
            args=(weak, strong),
            help="The small tier becomes the large one. Tiers stand in the order of their parameters, then of their "
            "bits.",
        )
    if study.reason:
        st.warning(f"Nothing was learned, so the score that needs no data is shown. {literal(study.reason)}")
    return study


def _first_above(tiers: tuple[str, ...], tier: str) -> str:
    """The largest tier, or where that is the one in question, the one below it."""
    return tiers[-1] if tier != tiers[-1] else tiers[-2]


def _swap(weak: str, strong: str) -> None:
    WEAK.turn_to(strong)
    STRONG.turn_to(weak)


def _choose_tier(place: ChosenOption, label: str, tiers: tuple[str, ...], default: str) -> str:
    place.prepare(tiers, default)
    asked = "first" if label == "Small" else "where the small one's answer will not do"
    chosen = st.selectbox(
        label,
        tiers,
        key=place.key,
        help=f"The tier that is asked {asked}. Tiers are in the order of their size.",
        persist_state="session",
    )
    place.into_address()
    return str(chosen)


def _say_what_reports(study: Study, data: DataSet) -> None:
    parts = [units.counted(len(study.data), "prompt")]
    if study.learned_from:
        parts.append(f"learned from {study.learned_from:,} others")
    if study.left_out:
        parts.append(f"{study.left_out:,} left out, for lack of a scored answer of both tiers")
    if held_up := data.disturbed.get(study.weak, 0) + data.disturbed.get(study.strong, 0):
        parts.append(f"others held up the times of {units.counted(held_up, 'answer')}")
    if estimated := sum(len(data.estimated.get(tier, ())) for tier in (study.weak, study.strong)):
        parts.append(f"times of {units.counted(estimated, 'answer')} estimated")
    ladder = f"{literal(study.weak)} → {literal(study.strong)}"
    st.caption(f":material/fact_check: {ladder} · {' · '.join(parts)}", width="content")
