"""A third tier in the picker: both thresholds of the ladder are chosen at once, and kept as a profile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import streamlit as st

from app import resources, units
from app.environment import app_environment
from app.router.choosing.ladder import LadderStudy
from app.router.choosing.study import Study
from app.router.choosing.verdict import ladder_verdict, written
from app.router.lab import RouterLab
from app.router.operation.profiles import current_ladder
from app.router.recorded.data_sets import DataSet
from app.router.way import Step
from app.session.labs import router as lab_session
from app.session.labs.router import PROFILE
from app.views.router.choosing.verdict import show_verdict
from app.views.router.words import flipped, signed_percent, with_interval
from app.views.runs.naming import one_line
from app.views.shared.errors import errors_shown
from engine.cascade import LadderFigures, LadderSelection, Target

_NONE = "none"
_THIRD = "router-third-tier"


def choose_third_tier(data: DataSet, study: Study) -> tuple[str, str, str] | None:
    """The three tiers to choose thresholds for, from the smallest up; ``None`` where two are to do."""
    tiers = data.tiers
    below_large = tiers[: tiers.index(study.strong)] if study.strong in tiers else ()
    others = [tier for tier in below_large if tier != study.weak]
    if not others:
        return None
    third = st.selectbox(
        "Third tier",
        [_NONE, *others],
        key=_THIRD,
        format_func=lambda tier: "None" if tier == _NONE else tier,
        help="A tier below the large one, in front of the small one or after it: both thresholds are chosen at once.",
        width=320,
        persist_state="session",
    )
    if third not in others:
        return None
    small, middle = sorted((study.weak, third), key=tiers.index)
    return small, middle, study.strong


def show_ladder(lab: RouterLab, data: DataSet, study: Study, tiers: tuple[str, str, str], target: Target) -> None:
    """The verdict on three tiers, their figures, and the way to keep them."""
    with errors_shown():
        ladder = lab.ladder(data, tiers, study.choice)
        selection = lab.ladder_selection(ladder, target)
        show_verdict(ladder_verdict(tiers, selection))
        _save(data, ladder, selection)
        _show_figures(tiers, selection)


def _show_figures(tiers: tuple[str, ...], selection: LadderSelection) -> None:
    name = "Safe" if selection.promise.shown else "Not shown"
    columns: dict[str, LadderFigures] = {f"{name}, {_pair(selection.thresholds)}: prompts that report": selection.test}
    if selection.naive_thresholds != selection.thresholds:
        columns[f"Naive, {_pair(selection.naive_thresholds)}: prompts that report"] = selection.naive
    columns[f"{name}: prompts that chose them"] = selection.calibration
    st.dataframe(
        {
            "Figure": [
                "Prompts",
                "Quality kept (of the large model's score)",
                "Time saved (of the large model's)",
                *(f"Answered by {tier}" for tier in tiers),
                "Missed (of all prompts)",
                "Time per prompt",
            ],
            **{title: _column(figures) for title, figures in columns.items()},
        },
        hide_index=True,
        column_config={"Figure": st.column_config.TextColumn(pinned=True)},
        alt="What the picked thresholds give on either half",
    )


def _pair(thresholds: tuple[float, ...]) -> str:
    return " and ".join(map(written, thresholds))


def _column(figures: LadderFigures) -> list[str]:
    return [
        units.count(figures.prompts),
        with_interval(figures.quality_kept, lambda value: f"{value:.2f}×"),
        with_interval(flipped(figures.cost_share), signed_percent),
        *(with_interval(share, units.percent) for share in figures.shares),
        with_interval(figures.missed, lambda value: units.percent(value, 1)),
        with_interval(figures.cost, units.seconds),
    ]


def _save(data: DataSet, ladder: LadderStudy, selection: LadderSelection) -> None:
    with (
        st.popover(f"Save three tiers at {_pair(selection.thresholds)}", icon=":material/save:"),
        st.form("router-ladder-new", border=False),
        errors_shown(),
    ):
        name = one_line(st.text_input("Name", key="router-ladder-name", placeholder="Three tiers") or "")
        if not st.form_submit_button("Save", key="router-ladder-save", type="primary"):
            return
        if not name:
            st.error("Give it a name first.", icon=":material/error:")
            return
        profile = ladder.profile(name, selection, _weights(data, ladder.tiers), data.sha256, datetime.now(UTC).date())
        evidence = ladder.evidence(selection, app_environment())
        PROFILE.turn_to(resources.get_store().router.keep_profile(profile, evidence, data.id))
        lab_session.turn_to(Step.USE)
        st.rerun()


def _weights(data: DataSet, tiers: tuple[str, ...]) -> Mapping[str, str]:
    ladder = current_ladder(tiers, data.weights, resources.get_settings().models_dir)
    return {tier: identity.weights_sha256 for tier, identity in zip(tiers, ladder, strict=True)}
