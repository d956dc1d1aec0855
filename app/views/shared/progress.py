"""How far a running job is, in words and as a bar."""

from __future__ import annotations

import streamlit as st

from app import resources, units
from app.background.jobs import Job, JobState
from app.literal import literal


def is_of_viewer(job: Job) -> bool:
    """Whether whoever looks may see all of a job, and cancel it: its owner, and everybody where nobody comes in from
    outside."""
    viewer = resources.viewer()
    return viewer is None or viewer.may_see(job.owner)


def progress_words(job: JobState, *, stage: bool = True) -> str:
    """What it does, its share done and the time left, as far as they are known.

    Args:
        job: one that runs.
        stage: whether what it does is told too.
    """
    if job.cancelling:
        return ending_words(job)
    parts = [literal(job.stage)] if stage else []
    if job.loading is not None:
        parts.append(f"{units.percent(job.loading)} loaded" if stage else "Loading a model")
        if job.fraction:
            parts.append(f"{units.percent(job.fraction)} done")
    elif job.pace is not None or not stage:  # before it has told anything, only that it starts is known
        parts.append(units.percent(job.fraction))
    if (left := job.remaining_s) is not None:
        parts.append(f"{units.about(left)} left")
    return ", ".join(parts)


def ending_words(job: JobState) -> str:
    """That somebody has asked it to stop."""
    return f"{'Pausing' if job.pauses else 'Cancelling'}: it ends within a few seconds"


def end_button(job: JobState) -> tuple[str, str]:
    """The label and the icon of the button that stops it."""
    return ("Pause", ":material/pause:") if job.pauses else ("Cancel", ":material/close:")


def show_bar(job: JobState, words: str) -> None:
    """A bar with words above it. While a model is loaded before anything is done, it is the bar of the loading."""
    share = job.loading if job.loading is not None and not job.fraction else job.fraction
    st.progress(min(max(share, 0.0), 1.0), text=words)
