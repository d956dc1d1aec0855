"""The Router lab's data: what is recorded of each tier, prompts of one's own, and the job that records."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import resources, units
from app.jobs import Jobs
from app.literal import literal
from app.quantization.tasks import tasks_sha256
from app.router.lab import DataSet
from app.router.recording import Checkable, record
from app.session import router_state
from app.store import RouterStore
from app.views.gears.precisions import offered_precisions
from app.views.runs.naming import one_line
from app.views.shared.errors import errors_shown
from app.views.shared.job_progress import follow_job
from engine import MIXED_FILE, Task, list_models, load_tasks, read_tasks, wilson_interval
from engine.types import Tier

_PROMPTS, _ADDED, _TIERS = "router-prompts", "router-prompts-added", "router-tiers"
_MIXED = "Gearbox's mixed prompts"
_ESTIMATE = "Each prompt is answered once by each tier, greedily, and checked."


def show_data(store: RouterStore, jobs: Jobs, data: DataSet | None, *, any_set: bool) -> None:
    """What there is, then the way to more."""
    if not any_set:
        st.info(
            "No answers are recorded yet. A router is chosen and judged on what a small and a large model answer to "
            "the same prompts: record some below."
        )
    elif data and data.tiers:
        _show_tiers(data)
    elif data:
        st.info(f"Nothing is recorded of “{literal(data.name)}” yet: choose its prompts below and record.")
    st.subheader("Record", anchor=False)
    _show_recording(store, jobs, data)


def _show_tiers(data: DataSet) -> None:
    rows = []
    for tier in data.tiers:
        scores = data.scores(tier)
        right = sum(score > 0.5 for score in scores)
        low, high = wilson_interval(right, len(scores)) if scores else (None, None)
        seconds = data.seconds(tier)
        answered = data.answered(tier)
        rows.append(
            (
                tier,
                f"{answered:,} of {data.size:,}",
                units.percent(sum(scores) / len(scores)) if scores else units.MISSING,
                f"{units.percent(low)} to {units.percent(high)}" if scores else units.MISSING,
                units.count(len(scores)),
                units.seconds(seconds),
                units.seconds(seconds * answered),
            )
        )
    names = ("Tier", "Answered", "Mean score", "95 % interval", "Checked", "Time per prompt", "Time in all")
    column = st.column_config
    st.dataframe(
        {name: [row[place] for row in rows] for place, name in enumerate(names)},
        hide_index=True,
        column_config={
            "Tier": column.TextColumn(pinned=True, help="Model and precision, the quickest first."),
            "95 % interval": column.TextColumn(help="Wilson's, of the share of right answers."),
            "Checked": column.TextColumn(help="Answers with a score. Prompts without a checker have none."),
            "Time per prompt": column.TextColumn(help="Mean E2E, loading and waiting left out."),
        },
        alt="What is recorded of each tier",
    )
    categories = {prompt.category for prompt in data.prompts}
    st.caption(
        f"{units.counted(len(data.prompts), 'prompt')} in {len(categories):,} categories: "
        f"{literal(', '.join(sorted(categories)))}. Data {data.sha256[:8]}."
    )


def _show_recording(store: RouterStore, jobs: Jobs, data: DataSet | None) -> None:
    models = [model.name for model in list_models(resources.get_settings().models_dir) if model.installed]
    if not models:
        st.info("No model is installed yet. Install two of different size, and record what each answers.")
        st.page_link("pages/models.py", label="Open Models", icon=":material/deployed_code:")
        return
    sets = _sets(store)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sha256 = _choose_prompts(sets)
        _upload(store)
    name, tasks = sets[sha256], _tasks(store, sha256)
    sha256 = tasks_sha256(tasks)  # a set kept with invalid text is recorded, and kept again, as its valid text
    key = f"router recording {sha256}"
    running = (job := jobs.state(key)) is not None and job.running
    options = [Tier(model=model, precision=precision).key for model in models for precision in offered_precisions()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tiers = st.multiselect(
            "Tiers",
            options,
            key=_TIERS,
            default=[tier for tier in options if tier.endswith("@int4")][:3],
            disabled=running,
            help=f"{_ESTIMATE} Two tiers that differ in size make a ladder; three make two.",
            persist_state="session",
        )
        _record_button(store, jobs, key, name, tasks, tiers, running=running)
    _say_how_much(store, sha256, tasks, tiers, data)

    def recorded() -> int:
        return sum(tier.answers for tier in store.recorded(sha256)) // 10

    follow_job(
        jobs,
        key,
        when_cancelled="Cancelled. The answers so far are kept, and recording goes on from there.",
        watch=recorded,
    )


def _say_how_much(
    store: RouterStore, sha256: str, tasks: Sequence[Task], tiers: Sequence[str], data: DataSet | None
) -> None:
    """How many answers there are to record, and how long that takes at the pace of those on view."""
    checkable = _checkable(sha256, tasks)
    known: dict[str, int] = {}
    for recorded in store.recorded(sha256):
        known.setdefault(recorded.tier, recorded.answers)
    left = {tier: max(0, len(checkable.tasks) - known.get(tier, 0)) for tier in tiers}
    parts = [
        f"{units.counted(len(checkable.tasks), 'prompt')}, {units.counted(sum(left.values()), 'answer')} to record"
    ]
    if data and sum(left.values()) and all(tier in data.tiers for tier in tiers):
        seconds = sum(count * data.seconds(tier) for tier, count in left.items())
        parts.append(f"about {units.seconds(seconds)} at the pace of those above")
    if checkable.left_out:
        parts.append(f"{units.counted(checkable.left_out, 'prompt')} left out. {literal(checkable.reason)}")
    st.caption(" · ".join(parts))


def _sets(store: RouterStore) -> dict[str, str]:
    mixed = tasks_sha256(load_tasks(MIXED_FILE))
    return {mixed: _MIXED} | {kept.sha256: kept.name for kept in store.sets() if kept.sha256 != mixed}


def _tasks(store: RouterStore, sha256: str) -> tuple[Task, ...]:
    return store.tasks(sha256) or load_tasks(MIXED_FILE)


def _choose_prompts(sets: dict[str, str]) -> str:
    added = st.session_state.pop(_ADDED, None)
    if added or st.session_state.get(_PROMPTS) not in sets:
        st.session_state[_PROMPTS] = added or next(iter(sets))
    return str(
        st.selectbox(
            "Prompts",
            list(sets),
            key=_PROMPTS,
            format_func=lambda id: sets.get(id, id),
            width=360,
            help="Facts, sums, code and more, from easy to hard; or your own.",
            persist_state="session",
        )
    )


def _upload(store: RouterStore) -> None:
    with st.popover("Add prompts", icon=":material/upload:"), st.form("router-upload", border=False), errors_shown():
        file = st.file_uploader(
            "Prompts with answers",
            type=["jsonl", "csv"],
            key="router-upload-file",
            help="JSON lines or CSV with the columns `prompt`, `checker` and `expected`; also GSM8K, HumanEval and "
            "MT-Bench as published.",
        )
        if not st.form_submit_button("Add", key="router-upload-add", icon=":material/add:"):
            return
        if file is None:
            st.error("Choose a file first.", icon=":material/error:")
            return
        tasks = read_tasks(file.name, file.getvalue())
        sha256 = tasks_sha256(tasks)
        store.keep_set(sha256, one_line(file.name), tasks)
        st.session_state[_ADDED] = sha256
        st.rerun()


@st.cache_data(show_spinner=False)
def _checkable(sha256: str, _tasks: Sequence[Task]) -> Checkable:
    return Checkable.of(_tasks)


def _record_button(
    store: RouterStore,
    jobs: Jobs,
    key: str,
    name: str,
    tasks: Sequence[Task],
    tiers: Sequence[str],
    *,
    running: bool,
) -> None:
    known = {recorded.tier: recorded.answers for recorded in store.recorded(key.rpartition(" ")[2])}
    begun = any(tier in known for tier in tiers)
    if st.button(
        "Resume" if begun else "Record",
        key="router-record",
        type="primary",
        icon=":material/play_arrow:",
        disabled=running or not tiers,
        help=f"{_ESTIMATE} It runs in the background: leave the page, cancel, come back and go on as you like. What "
        "was answered before under the same weights is not asked again.",
    ):
        engine = resources.get_engine()
        chosen = [Tier.from_key(tier) for tier in tiers]
        sha256 = key.rpartition(" ")[2]
        store.keep_set(sha256, name, tasks)
        router_state.look_at(sha256)
        jobs.submit(key, lambda report: record(engine, store, name, tasks, chosen, report))
        st.rerun()
