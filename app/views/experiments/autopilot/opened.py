"""One autopilot: how it stands, what it chose and how sure that is, and its way there."""

from __future__ import annotations

import math

import streamlit as st

from app import resources, units
from app.experiments.autopilot.course import Course, read_course
from app.experiments.autopilot.evidence import Evidence, Shown
from app.experiments.autopilot.front import pareto_front
from app.experiments.autopilot.running import AUTOPILOT
from app.literal import literal
from app.session import experiments as session
from app.session.identity import known_person
from app.store import ExperimentState, KeptAutopilot, RunStore
from app.views.experiments.autopilot.chart import front_chart
from app.views.experiments.autopilot.use import show_use
from app.views.experiments.standing import Progress, follow_elsewhere, state_word
from app.views.runs.naming import EXPERIMENTS_PATH, page_url
from app.views.shared import charts
from app.views.shared.background_job import BackgroundJob
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown

_MIB = 2**20
_ICONS = {
    Shown.KEPT: ":green[:material/check_circle:]",
    Shown.OPEN: ":orange[:material/hourglass_top:]",
    Shown.BROKEN: ":red[:material/cancel:]",
}


def show_autopilot(store: RunStore, autopilot_id: str) -> None:
    """All of it. One that is gone is told of, with the way back.

    Raises:
        GoneError: there is no such autopilot.
    """
    st.button("All experiments", icon=":material/arrow_back:", type="tertiary", on_click=session.AUTOPILOT.close)
    kept = store.autopilots.get(autopilot_id)
    job = BackgroundJob(
        AUTOPILOT.job_key(kept.id), when_cancelled="What is measured is kept, and it goes on from there."
    )
    heats = store.autopilots.heats(kept.id)
    course = _read(store, kept.id, len(heats), sum(each.seconds for each in heats), str(kept.state), known_person())
    _show_head(store, kept, course, job, used_s=sum(each.seconds for each in heats))
    job.follow(lambda: len(store.autopilots.heats(kept.id)))
    if not job.running:
        follow_elsewhere(lambda: _progress(store, kept.id, course.plan.goal.budget_s))
    if kept.state is ExperimentState.FAILED and kept.error and not job.state:
        st.error(literal(kept.error), icon=":material/error:")
    _show_result(course, running=job.running or kept.under_way is not None)
    if course.found.readings:
        found, goal = course.found, course.plan.goal
        baseline = course.plan.baseline.name
        left = found.alive if found.rounds else tuple(found.readings)  # nobody is dropped before a round is over
        charts.show(
            front_chart(list(found.readings.values()), goal, left=left, baseline=baseline), key="autopilot-front"
        )
        if found.rounds:
            _show_rounds(course)
        _show_readings(course)
    _show_experiments(store, kept)


@st.cache_resource(show_spinner=False, max_entries=8)
def _read(_store: RunStore, id: str, heats: int, seconds: float, state: str, person: str | None) -> Course:
    return read_course(_store, id)


def _progress(store: RunStore, id: str, budget_s: float) -> Progress:
    """How far one is that another server goes on with: by the time that it has used."""
    heats = store.autopilots.heats(id)
    share = sum(each.seconds for each in heats) / budget_s
    return Progress(store.autopilots.get(id).under_way, min(share, 0.99), len(heats))


def _show_head(store: RunStore, kept: KeptAutopilot, course: Course, job: BackgroundJob, *, used_s: float) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(literal(kept.name), anchor=False)
        runs = job.running or kept.under_way is not None
        if not runs and kept.state is not ExperimentState.DONE:
            label = "Start" if kept.state is ExperimentState.NEW else "Resume"
            if st.button(label, icon=":material/play_arrow:", type="primary", key="autopilot-go-on"):
                with errors_shown():
                    page = f"{EXPERIMENTS_PATH}?{session.AUTOPILOT.query}={kept.id}"
                    AUTOPILOT.start(resources.get_jobs(), resources.get_engine(), store, kept, page=page)
                    st.rerun()
        with st.popover("Manage", icon=":material/more_horiz:"):
            st.caption("Deleting takes the autopilot and its experiments; their runs stay under Runs.")
            if st.button("Delete", icon=":material/delete:", key="autopilot-delete", disabled=runs):
                with errors_shown():
                    store.autopilots.delete(kept.id)
                    session.AUTOPILOT.close()
                    st.rerun()
    plan, begun = course.plan, units.moment(kept.created_at, reader_zone())
    st.caption(
        f"{state_word(AUTOPILOT, kept)} · begun {begun} · {literal(plan.goal.text)} · {literal(plan.prompts_from)}: "
        f"{units.counted(len(plan.searched), 'prompt')} to search on, {len(plan.kept_apart):,} held out · "
        f"{units.seconds(used_s)} of {units.seconds(plan.goal.budget_s)} used"
    )


def _show_result(course: Course, *, running: bool) -> None:
    choice, plan = course.choice, course.plan
    if choice is None:
        if not course.found.readings:
            st.info("Results appear here as rounds come to their end.")
        return
    if choice.name is None:
        st.warning(
            f"**No configuration.** {literal(choice.text)}" + "".join(f"\n\n- {literal(x)}" for x in choice.nearest),
            icon=":material/block:",
        )
        return
    text = f"**{literal(choice.name)}.** "
    evidence = course.evidence
    if evidence is None:
        rest = course.without_evidence or "Held-out prompts are asked now." if running else course.without_evidence
        st.info(f"{text}{literal(choice.text)} {literal(rest)}", icon=":material/hourglass_empty:")
    else:
        _show_evidence(course, evidence, text + literal(choice.text))
    assert course.chosen is not None
    show_use(plan.baseline, course.chosen, plan.name, main=evidence is not None and evidence.shown is not Shown.BROKEN)


def _show_evidence(course: Course, evidence: Evidence, text: str) -> None:
    whole = f"{text} {literal(evidence.text)}"
    match evidence.shown:
        case Shown.KEPT:
            st.success(whole, icon=":material/verified:")
        case Shown.OPEN:
            st.info(whole, icon=":material/hourglass_empty:")
        case Shown.BROKEN:
            st.error(whole, icon=":material/block:")
    st.markdown(
        "\n".join(
            f"- {_ICONS[each.shown]} **{str(each.limit).capitalize()}**, {each.shown}: {literal(each.text)}"
            for each in evidence.limits
        )
    )
    said = [evidence.decision.speed.text] if evidence.decision is not None else []
    if evidence.disturbed:
        said.append(f"Times of {units.counted(evidence.disturbed, 'prompt')} are of disturbed runs alone.")
    if said:
        st.caption(literal(" ".join(said)))
    if course.evidence_id:
        st.page_link(
            "pages/experiments.py",
            label="The experiment on held-out prompts",
            icon=":material/science:",
            query_params={session.EXPERIMENT_QUERY: course.evidence_id},
        )


def _show_rounds(course: Course) -> None:
    found = course.found
    st.subheader("Rounds", anchor=False)
    column = st.column_config
    st.dataframe(
        {
            "round": list(range(1, len(found.rounds) + 1)),
            "candidates": [len(each.readings) for each in found.rounds],
            "prompts": [len(each.block) for each in found.rounds],
            "went on": [len(each.survivors) for each in found.rounds],
            "best": [each.survivors[0] if each.survivors else None for each in found.rounds],
            "seconds": [each.seconds for each in found.rounds],
        },
        column_config={
            "round": column.NumberColumn("Round", format="%d"),
            "candidates": column.NumberColumn("Candidates", format="%d"),
            "prompts": column.NumberColumn("New prompts", format="%d", help="Asked of all that were in it."),
            "went on": column.NumberColumn("Went on", format="%d"),
            "best": column.TextColumn("Most promising"),
            "seconds": column.NumberColumn("Took (s)", format="%.0f", help="Loading included."),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Rounds",
    )
    plan = course.plan
    said = [found.stopped] if found.stopped else []
    if found.finished and found.not_reached:
        names = ", ".join(found.not_reached[:3]) + (" and others" if len(found.not_reached) > 3 else "")
        said.append(f"Not come to: {units.counted(len(found.not_reached), 'candidate')} ({names}).")
    if len(plan.candidates) < plan.possible:
        said.append(f"{len(plan.candidates):,} of {plan.possible:,} combinations were candidates.")
    said.append(
        "The candidates that are fastest against the SLO, times the probability that their quality is kept, go on "
        "(successive halving)."
    )
    st.caption(literal(" ".join(said)))


def _show_readings(course: Course) -> None:
    found, goal = course.found, course.plan.goal
    readings = sorted(found.readings.values(), key=lambda each: (each.name not in found.alive, -each.worth(goal)))
    best = set(pareto_front(readings))
    broken = [each.excess(goal) for each in readings]
    column = st.column_config
    with st.expander(f"All {units.counted(len(readings), 'configuration')} that were measured"):
        st.dataframe(
            {
                "name": [each.name for each in readings],
                "front": [each.name in best for each in readings],
                "prompts": [each.prompts for each in readings],
                "latency": [_finite(each.latency_s, 1000) for each in readings],
                "difference": [None if each.difference is None else 100 * each.difference for each in readings],
                "kept": [100 * each.kept for each in readings],
                "memory": [_finite(each.memory_bytes, 1 / _MIB) for each in readings],
                "breaks": [", ".join(each) for each in broken],
            },
            column_config={
                "name": column.TextColumn("Configuration", pinned=True),
                "front": column.CheckboxColumn("Pareto front", help="None beats it in quality, latency and memory."),
                "prompts": column.NumberColumn("Prompts", format="%d"),
                "latency": column.NumberColumn(f"{goal.latency_name} (ms)", format="%.0f"),
                "difference": column.NumberColumn("Quality (points)", format="%+.1f", help="Against the baseline."),
                "kept": column.NumberColumn(
                    "Quality kept (%)", format="%.0f", help="How probable it is that quality is within the margin."
                ),
                "memory": column.NumberColumn("Memory (MiB)", format="%.0f", help="Weights and KV, at most."),
                "breaks": column.TextColumn("Breaks"),
            },
            hide_index=True,
            placeholder=units.MISSING,
            alt="Configurations measured",
        )


def _show_experiments(store: RunStore, kept: KeptAutopilot) -> None:
    heats = store.autopilots.heats(kept.id)
    if not heats:
        return
    with st.expander(f"Its {units.counted(len(heats), 'experiment')}"):
        experiments = [store.experiments.get(each.experiment_id) for each in heats]
        st.dataframe(
            {
                "open": [page_url(EXPERIMENTS_PATH, **{session.EXPERIMENT_QUERY: each.id}) for each in experiments],
                "name": [each.name for each in experiments],
                "prompts": [each.prompts for each in experiments],
                "configurations": [len(each.design["configurations"]) for each in experiments],
                "answers": [each.cells for each in experiments],
                "seconds": [each.seconds for each in heats],
            },
            column_config={
                "open": st.column_config.LinkColumn("", display_text="Open", width="small"),
                "name": st.column_config.TextColumn("Experiment"),
                "prompts": st.column_config.NumberColumn("Prompts", format="%d"),
                "configurations": st.column_config.NumberColumn("Configurations", format="%d"),
                "answers": st.column_config.NumberColumn("Answers", format="%d"),
                "seconds": st.column_config.NumberColumn("Took (s)", format="%.0f"),
            },
            hide_index=True,
            alt="Experiments of the autopilot",
        )


def _finite(value: float | None, scale: float) -> float | None:
    return None if value is None or not math.isfinite(value) else value * scale
