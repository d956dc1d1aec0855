"""Which times, or prices, a threshold is chosen for: those recorded, another machine's, or a price list."""

from __future__ import annotations

import platform

import streamlit as st

from app.literal import literal
from app.router.choosing.study import Study
from app.router.lab import RouterLab
from app.router.recorded.data_sets import DataSet
from app.session import costs as costs_session
from app.session.labs import router as lab_session
from app.views.shared.errors import errors_shown, show_error
from engine.cascade import Costs, Rates
from engine.errors import GearboxError

_RECORDED, _MACHINE, _PRICES = "As recorded", "Another machine", "Price list"
_MILLION = 1e6


def in_costs(lab: RouterLab, study: Study) -> Study:
    """The study with the costs that the session chose; as recorded where they say nothing of its tiers."""
    costs, data = costs_session.costs(), data_set(lab)
    if costs is None or data is None or study.costs is not None:
        return study
    try:
        return lab.study_elsewhere(data, study, costs)
    except GearboxError as error:
        show_error(error)
        return study


def data_set(lab: RouterLab) -> DataSet | None:
    """The one that the page looks at."""
    id = st.session_state.get(lab_session.DATA_SET.key)
    return lab.data_set(id) if id in lab.names() else None


def choose_costs(lab: RouterLab, study: Study) -> Study:
    """The choice, as a popover, and the study with it."""
    costs, data = costs_session.costs(), data_set(lab)
    if data is None:
        return study
    with st.popover(f"Times: {costs.name if costs else 'as recorded'}", icon=":material/timer:"), errors_shown():
        kind = st.segmented_control(
            "Times",
            (_RECORDED, _MACHINE, _PRICES),
            default=_RECORDED,
            required=True,
            key="router-costs-kind",
            help="A threshold recorded on a laptop can be chosen for a server: its times are derived from the server's "
            "step and prefill times.",
            persist_state="session",
        )
        match kind:
            case "Another machine":
                _machine(data)
            case "Price list":
                _prices(study)
            case _:
                if costs is not None:
                    st.button(
                        "Use the times recorded",
                        key="router-costs-none",
                        on_click=costs_session.set_costs,
                        args=(None,),
                    )
                _download(data)
    return in_costs(lab, study)


def show_derived(study: Study) -> None:
    """Say so where costs are derived."""
    costs = study.costs
    if costs is not None:
        of = f"times of {costs.name}, from its step and prefill times" if costs.in_seconds else "prices times tokens"
        st.caption(f":material/function: Derived, not measured: {literal(of)}. Choose it under Pick for me.")


def _machine(data: DataSet) -> None:
    file = st.file_uploader(
        "Times of the other machine",
        type="json",
        key="router-costs-file",
        help="Record a few prompts with both tiers there, and download its times here under As recorded.",
    )
    if file is not None and st.button("Use these times", key="router-costs-machine", type="primary"):
        costs_session.set_costs(Costs.from_json(file.getvalue()))
        st.rerun()
    st.caption(f"It must know the tiers recorded here: {literal(', '.join(data.tiers))}.")


def _download(data: DataSet) -> None:
    measured = Costs.measured(f"{platform.node() or 'this machine'}, {data.name}", data.timed)
    st.download_button(
        "Download this data set's times",
        measured.to_json(),
        file_name="machine-times.json",
        mime="application/json",
        key="router-costs-download",
        icon=":material/download:",
        on_click="ignore",
        help="Step, prefill and overhead of each tier, fitted to its answers. On another machine, choose them under "
        "Another machine.",
    )
    fits = ", ".join(f"{tier} {rates.error:.0%}" for tier, rates in measured.tiers.items() if rates.error is not None)
    st.caption(f"Median error of the fit: {literal(fits)}.")


def _prices(study: Study) -> None:
    unit = st.text_input("Currency", "$", key="router-costs-unit", max_chars=3, width=120, persist_state="session")
    tiers = {tier: _price(tier) for tier in (study.weak, study.strong)}
    if st.button("Use these prices", key="router-costs-prices", type="primary"):
        costs_session.set_costs(Costs(name="a price list", unit=(unit or "$").strip() or "$", tiers=tiers))
        st.rerun()


def _price(tier: str) -> Rates:
    st.caption(literal(tier))
    with st.container(horizontal=True):
        prompt, completion = (
            st.number_input(
                f"{what.capitalize()} tokens, per million",
                0.0,
                value=0.0,
                step=0.1,
                key=f"router-costs-{what}-{tier}",
                persist_state="session",
            )
            for what in ("prompt", "completion")
        )
    return Rates(per_answer=0.0, per_prompt_token=prompt / _MILLION, per_completion_token=completion / _MILLION)
