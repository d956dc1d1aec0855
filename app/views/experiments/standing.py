"""How an experiment or an autopilot stands, in a word; and how far one is that another process goes on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app import resources, units
from app.experiments.running.starting import InBackground
from app.literal import literal
from app.store import ExperimentState, KeptAutopilot, KeptExperiment, UnderWay
from app.views.shared.errors import errors_shown

_REFRESH_EVERY = "2s"


@dataclass(frozen=True, slots=True)
class Progress:
    """Of what another process goes on with."""

    under_way: UnderWay | None
    share: float
    """Done so far, 0 to 1."""
    seen: object
    """The page is drawn again when this changes."""


def state_word(kind: InBackground, kept: KeptExperiment | KeptAutopilot) -> str:
    """How it stands. One whose process was killed still says that it runs in the database."""
    job = resources.get_jobs().state(kind.job_key(kept.id))
    if (job is not None and job.running) or kept.under_way is not None:
        return "Running"
    return "Paused" if kept.state is ExperimentState.RUNNING else str(kept.state).capitalize()


def follow_elsewhere(look: Callable[[], Progress]) -> None:
    """How far one is that is no job of its own here, kept up to date while it runs; nothing where nobody goes on with
    it.

    Args:
        look: reads how far it is.
    """
    first = look()
    if first.under_way is not None:
        st.fragment(_keep_up, run_every=_REFRESH_EVERY)(look, first.seen)


def _keep_up(look: Callable[[], Progress], seen: object) -> None:
    with errors_shown():
        now = look()
        if now.under_way is None or now.seen != seen:
            st.rerun()
        st.progress(
            min(max(now.share, 0.0), 1.0),
            text=f"Running, {literal(now.under_way.where)}, {units.percent(now.share)}",
        )
        st.caption(f"{literal(now.under_way.how_to_pause)}. Results appear here as they come.")
