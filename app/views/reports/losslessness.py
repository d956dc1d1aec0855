"""Whether drafts changed an answer, and why they may have helped little."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import resources
from app.literal import literal
from app.speculation.losslessness import check_run
from app.speculation.notices import losslessness_details, losslessness_title, speculation_notice
from app.store import RunRecord
from app.views.shared.background_job import BackgroundJob
from engine.types import Losslessness, RunConfig, RunMetrics, SpeculationReport


def show_losslessness(run: RunRecord) -> None:
    """The badge of a run that drafted, or the button that checks it. Reads the answer again in the background."""
    if run.losslessness:
        show_badge(run.losslessness)
        return
    job = BackgroundJob(f"losslessness {run.id}", "Press Check to begin again.", title="Checking an answer")
    if job.start_button(
        "Check",
        key=f"check-{run.id}",
        icon=":material/verified:",
        main=False,
        help="Is this the answer that plain decoding gives? It is read again, all tokens at once, which takes less "
        "time than writing it.",
    ):
        job.start(partial(check_run, resources.get_engine(), resources.get_store(), run.id))
    job.follow()


def show_badge(found: Losslessness) -> None:
    """What a check showed."""
    if found.holds:
        st.badge(
            losslessness_title(found),
            icon=":material/verified:",
            color="green",
            help=literal(losslessness_details(found)),
        )
    else:
        st.badge(losslessness_title(found), icon=":material/call_split:", color="orange")
        st.caption(literal(losslessness_details(found)))


def show_speculation_notice(report: SpeculationReport, metrics: RunMetrics, config: RunConfig) -> None:
    """Say so where the gear did little or nothing."""
    if notice := speculation_notice(report, metrics, config):
        st.info(literal(notice), icon=":material/pause_circle:")
