"""One experiment: how it stands, what can be done with it, and what it says so far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from app import resources, units
from app.experiments.planning.factorial import measured_sets
from app.experiments.results.arrays import Bools, Results, read_results
from app.experiments.running.starting import EXPERIMENT, FAILED_ANSWERS, InBackground
from app.literal import literal
from app.session import experiments as session
from app.session.identity import known_person
from app.store import ExperimentState, KeptExperiment, RunStore
from app.views.experiments.configurations import show_configurations
from app.views.experiments.deciding.decision import show_decision
from app.views.experiments.gears import show_gears
from app.views.experiments.judging.heard import hear
from app.views.experiments.judging.judge import show_judge
from app.views.experiments.method import show_method
from app.views.experiments.standing import Progress, follow_elsewhere, state_word
from app.views.shared.background_job import BackgroundJob
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown

_REDRAWN = 20
"""Times that the figures are drawn anew while it runs."""
_DECISION, _GEARS, _CONFIGURATIONS, _JUDGE, _METHOD = (
    "Decision", "Each gear", "All configurations", "Judge", "Method",
)  # fmt: skip


def show_experiment(store: RunStore, experiment_id: str) -> None:
    """All of it. One that is gone is told of, with the way back.

    Raises:
        GoneError: there is no such experiment.
    """
    st.button("All experiments", icon=":material/arrow_back:", type="tertiary", on_click=session.close)
    kept = store.experiments.get(experiment_id)
    job = BackgroundJob(
        EXPERIMENT.job_key(kept.id), when_cancelled="What is answered is kept, and it goes on from there."
    )
    results = _results(store, kept, known_person())
    cells = results.design.cells
    _show_head(store, kept, job, cells)
    job.follow(lambda: _seen(store.experiments.get(kept.id), cells))
    if not job.running:
        follow_elsewhere(lambda: _progress(store.experiments.get(kept.id), cells))
    if kept.state is ExperimentState.FAILED and kept.error and not job.state:
        st.error(literal(kept.error), icon=":material/error:")
    if not kept.cells:
        st.info("Results appear here as answers come.")
        return
    heard = hear(store, results)
    results = heard.results
    sections = [_DECISION, _CONFIGURATIONS, _JUDGE, _METHOD]
    if measured_sets(results.design.configurations):
        sections.insert(0, _GEARS)
    session.SECTION.prepare(sections)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        section = st.segmented_control(
            "Show", sections, required=True, key=session.SECTION.key, persist_state="session"
        )
        among = _choose_categories(results)
    session.SECTION.into_address()
    with errors_shown():
        match section:
            case "Each gear":
                show_gears(results, among)
            case "All configurations":
                show_configurations(results, among)
            case "Judge":
                show_judge(store, heard)
            case "Method":
                show_method(results)
            case _:
                show_decision(store, results, among)


def _seen(kept: KeptExperiment, cells: int) -> object:
    """What the page is drawn again for while it runs."""
    return kept.cells // max(1, cells // _REDRAWN), kept.failed


def _progress(kept: KeptExperiment, cells: int) -> Progress:
    return Progress(kept.under_way, kept.cells / cells, _seen(kept, cells))


def _show_head(store: RunStore, kept: KeptExperiment, job: BackgroundJob, cells: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(literal(kept.question or kept.name), anchor=False)
        if not _runs(kept, job):
            _show_buttons(store, kept)
        with st.popover("Manage", icon=":material/more_horiz:"):
            _manage(store, kept, job)
    begun = units.moment(kept.created_at, reader_zone())
    failed = f" · {units.counted(kept.failed, 'answer')} failed" if kept.failed else ""
    done = "" if kept.cells == cells else f"{kept.cells:,} of "
    st.caption(
        f"{state_word(EXPERIMENT, kept)} · begun {begun} · {literal(str(kept.design['prompts_from']))} "
        f"· {units.counted(kept.prompts, 'prompt')} · {done}{units.counted(cells, 'answer')}{failed}"
    )


def _runs(kept: KeptExperiment, job: BackgroundJob) -> bool:
    """Whether anybody goes on with it, here or elsewhere."""
    return job.running or kept.under_way is not None


def _show_buttons(store: RunStore, kept: KeptExperiment) -> None:
    """What can be done with one that does not run."""
    if kept.state is not ExperimentState.DONE:
        label = "Resume" if kept.cells else "Start"
        if st.button(label, icon=":material/play_arrow:", type="primary", key="experiments-go-on"):
            _start(EXPERIMENT, store, kept)
    if (
        kept.failed
        and not kept.of_autopilot
        and st.button(
            "Ask the failed answers again",
            icon=":material/refresh:",
            key="experiments-retry",
            help=f"{units.counted(kept.failed, 'answer')} failed. What comes of them now takes their place; what was "
            "answered is not asked again.",
        )
    ):
        _start(FAILED_ANSWERS, store, kept)


def _start(kind: InBackground, store: RunStore, kept: KeptExperiment) -> None:
    with errors_shown():
        kind.start(resources.get_jobs(), resources.get_engine(), store, kept, page=_address(kept))
        st.rerun()


def _address(kept: KeptExperiment) -> str:
    from app.views.runs.naming import EXPERIMENTS_PATH

    return f"{EXPERIMENTS_PATH}?{session.EXPERIMENT_QUERY}={kept.id}"


def _manage(store: RunStore, kept: KeptExperiment, job: BackgroundJob) -> None:
    with st.form("experiments-rename", border=False):
        name = st.text_input("Name", value=kept.name, max_chars=120)
        if st.form_submit_button("Rename") and name.strip():
            with errors_shown():
                store.experiments.rename(kept.id, name.strip())
                st.rerun()
    st.caption("Deleting takes the experiment and its figures; its runs stay under Runs.")
    if st.button("Delete", icon=":material/delete:", key="experiments-delete", disabled=_runs(kept, job)):
        with errors_shown():
            store.experiments.delete(kept.id)
            session.close()
            st.rerun()


def _results(store: RunStore, kept: KeptExperiment, person: str | None) -> Results:
    return replace(_read(store, kept.id, kept.cells, kept.failed, str(kept.state), person), kept=kept)


@st.cache_resource(show_spinner=False, max_entries=8)
def _read(_store: RunStore, id: str, cells: int, failed: int, state: str, person: str | None) -> Results:
    return read_results(_store, id)


def _choose_categories(results: Results) -> Bools:
    """Which prompts are looked at: all, or those of some categories."""
    categories = sorted(set(results.categories))
    chosen = []
    if len(categories) > 1:
        chosen = st.multiselect(
            "Categories", categories, placeholder="All categories", key=session.CATEGORIES, persist_state="session"
        )
    chosen = [each for each in chosen if each in categories]
    return np.isin(np.array(results.categories), chosen or categories)
