"""The Router lab's picker: the user names a target, one half of the prompts chooses, the other half reports."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import units
from app.literal import literal
from app.router.choosing.study import Study
from app.router.choosing.verdict import Verdict, promise_mark, spent, verdict, written
from app.router.lab import RouterLab
from app.session.labs import router as lab_session
from app.views.router.choosing.pick_ladder import choose_third_tier, show_ladder
from app.views.router.choosing.times import choose_costs, data_set, show_derived
from app.views.router.choosing.verdict import show_verdict
from app.views.router.words import cost_of, flipped, signed_percent, with_interval
from engine.cascade import KeepQuality, RiskAtMost, Selection, SpendAtMost, Target, ThresholdFigures
from engine.cascade.routing.promise import CONFIDENCE, promise_of

_QUALITY, _COST, _RISK = "Keep quality", "Spend at most", "Certify a risk"
_TARGET, _SHARE, _BUDGET, _ALPHA, _CONFIDENCE, _RISK_CONFIDENCE = (
    "router-target",
    "router-target-quality",
    "router-target-cost",
    "router-target-risk",
    "router-target-sure",
    "router-target-confidence",
)


def show_picker(lab: RouterLab, study: Study) -> None:
    """The target, the one verdict on it, and the way to use what was found."""
    target, data = choose_target(), data_set(lab)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tiers = None if data is None else choose_third_tier(data, study)
        study = study if tiers else choose_costs(lab, study)
    if data is not None and tiers:
        show_ladder(lab, data, study, tiers, target)
        return
    show_derived(study)
    selection = lab.selection(study, target)
    found = verdict(study, selection)
    show_verdict(found)
    if study.learned_from == 0 and study.reason:
        st.caption("The router was not learned: its score needs no data.")
    _show_use(study, selection, found)
    _show_figures(study, selection)


def choose_target() -> Target:
    """What is asked of a threshold."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Target",
            (_QUALITY, _COST, _RISK),
            default=_QUALITY,
            required=True,
            key=_TARGET,
            help=f"- **{_QUALITY}**: at least this share of the large model's score, at least time.\n"
            f"- **{_COST}**: at most this share of the large model's time, at best quality.\n"
            f"- **{_RISK}**: at most this share of all prompts keeps a small answer where the large one is better.",
            persist_state="session",
        )
        match kind:
            case "Spend at most":
                return SpendAtMost(_percent(_BUDGET, "Time, % of the large model's", 60, 5, 150), _confidence())
            case "Certify a risk":
                alpha = _percent(_ALPHA, "Risk, % of all prompts", 10, 1, 50)
                sure = _percent(_RISK_CONFIDENCE, "Confidence, %", 95, 50, 99, help=_SURE)
                return RiskAtMost(alpha, round(1 - sure, 6))
            case _:
                return KeepQuality(_percent(_SHARE, "Score, % of the large model's", 95, 50, 100), _confidence())


_SURE = (
    "At 90 %, at most one sample of prompts in ten leads to a promise that does not hold. More confidence asks for "
    "more prompts."
)


def _confidence() -> float:
    return _percent(_CONFIDENCE, "Confidence, %", round(100 * CONFIDENCE), 50, 99, help=_SURE)


def _percent(key: str, label: str, first: int, least: int, most: int, help: str | None = None) -> float:
    number = st.number_input(label, least, most, first, key=key, step=1, width=220, persist_state="session", help=help)
    return int(number) / 100


def _show_use(study: Study, selection: Selection, found: Verdict) -> None:
    choice = selection.choice
    with st.container(horizontal=True):
        st.button(
            f"Use this threshold ({written(selection.threshold)})" if found.usable else "Use this threshold anyway",
            key="router-use",
            icon=":material/check:",
            type="primary" if found.usable else "secondary",
            on_click=lab_session.use_threshold,
            args=(study, selection.threshold, selection.promise),
            help=literal(f"Sets it, and goes on to using it. {promise_mark(selection.promise).capitalize()}".strip()),
        )
        if choice.safe is not None and choice.naive != choice.safe:
            st.button(
                f"Use {written(choice.naive)} instead",
                key="router-use-naive",
                on_click=lab_session.use_threshold,
                args=(study, choice.naive, promise_of(selection.target, shown=False)),
                help="Quicker, and its promise is not shown: about every second such threshold breaks it.",
            )
    made = lab_session.promise(study)
    if made is not None:
        mark = promise_mark(made)
        st.caption(
            f":material/check: The threshold is set to {written(lab_session.threshold(study))}"
            f"{f', {mark}' if mark else ''}. Save it under Profiles."
        )


def _show_figures(study: Study, selection: Selection) -> None:
    safe = selection.choice.safe is not None
    name = "Safe" if safe else "Not shown"
    columns = {f"{name}, {written(selection.threshold)}: prompts that report": selection.test}
    if safe and selection.naive.threshold != selection.threshold:
        columns[f"Naive, {written(selection.naive.threshold)}: prompts that report"] = selection.naive
    columns[f"{name}: prompts that chose it"] = selection.calibration
    st.dataframe(
        {
            "Figure": [
                "Prompts",
                "Quality kept (of the large model's score)",
                f"{spent(study).capitalize()} saved (of the large model's)",
                "Sent to the large model",
                "Missed (of all prompts)",
                f"{spent(study).capitalize()} per prompt",
            ],
            **{title: _column(figures, cost_of(study)) for title, figures in columns.items()},
        },
        hide_index=True,
        column_config={"Figure": st.column_config.TextColumn(pinned=True)},
        alt="What the picked threshold gives on either half",
    )
    st.caption(
        "In brackets the 95 % interval. The prompts are halved by category. Figures of the half that chose flatter the "
        "threshold; those of the half that reports do not."
    )


def _column(figures: ThresholdFigures, cost: Callable[[float], str]) -> list[str]:
    return [
        units.count(figures.prompts),
        with_interval(figures.quality_kept, lambda value: f"{value:.2f}×"),
        with_interval(flipped(figures.cost_share), signed_percent),
        with_interval(figures.share, units.percent),
        with_interval(figures.missed, lambda value: units.percent(value, 1)),
        with_interval(figures.cost, cost),
    ]
