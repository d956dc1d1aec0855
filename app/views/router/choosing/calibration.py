"""The Router lab on scores: do they mean what they say, which signal tells most, are live ones still like them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import streamlit as st

from app import units
from app.literal import literal
from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.lab import RouterLab
from app.session.labs.router import COMPARED
from app.views.router.choosing.charts import reliability
from app.views.shared import charts
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown
from engine.cascade import Drift, Reliability, ScoreReference
from engine.cascade.routing.calibration import MIN_LIVE

_LIVE, _CASCADES = "live", "cascades"


def show_calibration(lab: RouterLab, study: Study, data_set_id: str) -> None:
    """Reliability, strengths of the signals, drift."""
    found = Reliability.of(study.data.router_score, study.needed())
    with st.container(horizontal=True):
        st.metric(
            "ECE",
            units.percent(found.ece, 1),
            help="Expected calibration error: how far scores are from the share that needed the large model, weighted "
            "by prompts. 0 % is perfect. A threshold works without it; a score that is read as a probability does not.",
        )
        st.metric(
            "Brier", _plain(found.brier), help="Mean squared difference of score and outcome, 0 to 1. Less is better."
        )
        st.metric(
            "AUROC",
            _plain(found.auroc),
            help="How often a prompt that needs the large model scores above one that does not. 0.5 is chance."
            if found.auroc is not None
            else "Undefined: the large model was needed for all of the prompts, or for none.",
        )
        st.metric("Prompts", units.count(len(study.data)), help=f"{found.left_out:,} without a score left out.")
    charts.show(reliability(found, title="Reliability: score against outcome"), key="router-reliability")
    _show_strengths(lab, study)
    _show_drift(lab, study, data_set_id)


def _plain(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.3f}"


def _show_strengths(lab: RouterLab, study: Study) -> None:
    st.subheader("What each signal tells alone", anchor=False)
    strengths = lab.strengths(study)
    if not strengths:
        st.caption("Nothing: the large model was needed for all of these prompts, or for none.")
        return
    column = st.column_config
    st.dataframe(
        {
            "Signal": [strength.name for strength in strengths],
            "AUROC": [strength.auroc for strength in strengths],
            "Speaks for the large model": ["high values" if strength.rises else "low values" for strength in strengths],
        },
        hide_index=True,
        height=320,
        column_config={
            "Signal": column.TextColumn(
                pinned=True, help="Of the small model's answer, or of the prompt. “first” looks at 16 tokens."
            ),
            "AUROC": column.ProgressColumn(min_value=0.5, max_value=1.0, format="%.3f", help="0.5 is chance."),
        },
        alt="Signals by AUROC",
    )


def _show_drift(lab: RouterLab, study: Study, data_set_id: str) -> None:
    st.subheader("Drift", anchor=False)
    if study.choice is Choice.ORACLE:
        st.caption("The oracle's scores come from both models' answers: there are no live ones to compare.")
        return
    names = {
        _CASCADES: "Your latest cascades with this router",
        _LIVE: f"Your latest runs of {study.weak} alone",
    }
    names |= {id: name for id, name in lab.names().items() if id != data_set_id}
    COMPARED.prepare(names)
    chosen = st.selectbox(
        "Compare with",
        list(names),
        key=COMPARED.key,
        format_func=lambda id: names.get(id, id),
        width=420,
        help="A threshold holds for scores like those it was chosen on. Cascades were scored when they ran; the small "
        "tier's own runs, up to the latest 300 that finished, are scored now; other sets of prompts can be compared "
        "too. Runs of the labs are left out.",
        persist_state="session",
    )
    if chosen == _LIVE and study.sees_hidden:
        st.caption("Hidden states are not kept with runs, and this router looks at them: compare with cascades.")
        return
    with errors_shown():
        scores, span = _live_scores(lab, study, chosen)
        if not len(scores):
            none = (
                "no cascade of these two tiers used this router"
                if chosen == _CASCADES
                else f"{literal(study.weak)} answered none"
            )
            st.caption(f"Nothing to compare yet: {none}.")
            return
        _say_drift(ScoreReference.of(study.data.router_score).drift(scores), f"{names[chosen]}{span}")


def _live_scores(lab: RouterLab, study: Study, chosen: str) -> tuple[npt.NDArray[np.float64], str]:
    """The scores to compare, and from when they are."""
    if chosen in (_CASCADES, _LIVE):
        live = lab.cascade_scores(study) if chosen == _CASCADES else lab.tier_scores(study)
        return live.scores, _span(live.at)
    prompts = [prompt for prompt in lab.data_set(chosen).prompts if study.weak in prompt.answers]
    return study.scores_of(prompts) if prompts else np.array([], np.float64), ""


def _span(moments: Sequence[datetime]) -> str:
    """From the first day to the last, as the reader's clock has it."""
    days = sorted({moment.astimezone(reader_zone()).date().isoformat() for moment in moments})
    return f", {days[0]} to {days[-1]}" if len(days) > 1 else f", {days[0]}" if days else ""


def _say_drift(drift: Drift, compared: str) -> None:
    if drift.live < MIN_LIVE:
        st.caption(
            f":material/hourglass_top: Too few to compare: {units.counted(drift.live, 'score')} of "
            f"“{literal(compared)}”, and the test needs {MIN_LIVE}."
        )
        return
    st.caption(f"{units.counted(drift.live, 'score')} of “{literal(compared)}”.")
    if drift.warning:
        st.warning(drift.warning, icon=":material/warning:")
    with st.container(horizontal=True):
        st.metric("Scores compared", units.count(drift.live), help=f"{drift.unknown:,} prompts have no score.")
        st.metric("Outside the range", units.percent(drift.outside, 1), help="2 % where nothing has changed.")
        st.metric(
            "Greatest distance",
            units.percent(drift.ks_statistic, 1),
            help="Kolmogorov–Smirnov, between the two distributions.",
        )
        st.metric(
            "p",
            _plain(drift.ks_p_value),
            help="How often chance alone would put two samples of one distribution as far apart.",
        )
