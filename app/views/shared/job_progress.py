"""How a background job stands: its progress, the time left, the way to end it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import units
from app.jobs import Jobs, JobState
from app.literal import literal
from app.views.shared.errors import errors_shown, show_error

REFRESH_EVERY = "1s"


def show_progress(job: JobState, jobs: Jobs, key: str, *, button_key: str) -> None:
    """A running job's stage, its share done, the time left, and a button that cancels it."""
    left = f", about {units.seconds(max(1, round(job.remaining_s)))} left" if job.remaining_s else ""
    st.progress(min(max(job.fraction, 0.0), 1.0), text=f"{literal(job.stage)}, {units.percent(job.fraction)}{left}")
    if st.button("Cancel", icon=":material/close:", key=button_key):
        jobs.cancel(key)
        st.toast("Cancelling: it ends within a few seconds.")


def follow_job(jobs: Jobs, key: str, *, when_cancelled: str, watch: Callable[[], object] = lambda: None) -> bool:
    """Show how the last job of a key stands, kept up to date while it runs; says whether it does.

    Args:
        jobs: the runner.
        key: the job's.
        when_cancelled: what to tell of a job that was cancelled.
        watch: the page is drawn again when its answer changes, and when the job is over.
    """
    job = jobs.state(key)
    if job is None:
        return False
    if job.running:
        st.fragment(_keep_up, run_every=REFRESH_EVERY)(jobs, key, watch, watch())
    elif job.error:
        show_error(job.error)
    elif job.status == "cancelled":
        st.info(when_cancelled, icon=":material/pause_circle:")
    return job.running


def _keep_up(jobs: Jobs, key: str, watch: Callable[[], object], seen: object) -> None:
    with errors_shown():
        job = jobs.state(key)
        if job is None or not job.running or watch() != seen:
            st.rerun()
        show_progress(job, jobs, key, button_key=f"cancel-{key}")
