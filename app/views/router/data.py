"""The Router lab's data: what is recorded of each tier, prompts of one's own, and the job that records."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from app import resources, units
from app.literal import literal
from app.quantization.tasks import tasks_sha256
from app.router.lab import DataSet
from app.router.recording import Checkable, record
from app.session.router import DATA_SET, PROMPTS
from app.store import RouterStore
from app.views.gears.precisions import offered_precisions
from app.views.reports.disturbance import WORD as DISTURBED
from app.views.runs.naming import one_line
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import errors_shown
from app.views.shared.missing_models import show_missing
from engine import MIXED_FILE, Task, list_models, load_tasks, read_tasks, wilson_interval
from engine.types import Tier

_TIERS = "router-tiers"
_MIXED = "Gearbox's mixed prompts"
_ESTIMATE = "Each prompt is answered once by each tier, greedily, and checked."


def show_data(store: RouterStore, data: DataSet | None, *, any_set: bool) -> None:
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
    _show_recording(store, data)


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
                units.count(data.disturbed[tier]) if tier in data.disturbed else units.MISSING,
            )
        )
    names = ("Tier", "Answered", "Mean score", "95 % interval", "Checked", "Time per prompt", "Time in all", DISTURBED)
    column = st.column_config
    st.dataframe(
        {name: [row[place] for row in rows] for place, name in enumerate(names)},
        hide_index=True,
        column_config={
            "Tier": column.TextColumn(pinned=True, help="Model and precision, the quickest first."),
            "95 % interval": column.TextColumn(help="Wilson's, of the share of right answers."),
            "Checked": column.TextColumn(help="Answers with a score. Prompts without a checker have none."),
            "Time per prompt": column.TextColumn(help="Mean E2E, loading and waiting left out."),
            DISTURBED: column.TextColumn(
                help="Answers whose times others on this machine held up, though they were asked twice."
            ),
        },
        alt="What is recorded of each tier",
    )
    categories = {prompt.category for prompt in data.prompts}
    st.caption(
        f"{units.counted(len(data.prompts), 'prompt')} in {len(categories):,} categories: "
        f"{literal(', '.join(sorted(categories)))}. Data {data.sha256[:8]}."
    )


def _show_recording(store: RouterStore, data: DataSet | None) -> None:
    models = list_models(resources.get_settings().models_dir)
    if show_missing(models):
        return
    sets = _sets(store)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        sha256 = _choose_prompts(sets)
        _upload(store)
    name, tasks = sets[sha256], _tasks(store, sha256)
    sha256 = tasks_sha256(tasks)  # a set kept with invalid text is recorded, and kept again, as its valid text
    job = BackgroundJob(f"router recording {sha256}")
    installed = [model.name for model in models if model.installed]
    options = [Tier(model=model, precision=precision).key for model in installed for precision in offered_precisions()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        tiers = st.multiselect(
            "Tiers",
            options,
            key=_TIERS,
            default=[tier for tier in options if tier.endswith("@int4")][:3],
            disabled=job.running,
            help=f"{_ESTIMATE} Two tiers that differ in size make a ladder; three make two.",
            persist_state="session",
        )
        _record(store, job, name, sha256, tasks, tiers)
    _say_how_much(store, sha256, tasks, tiers, data)

    def recorded() -> int:
        return sum(tier.answers for tier in store.recorded(sha256)) // 10

    job.follow(recorded)


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
    PROMPTS.prepare(sets)
    return str(
        st.selectbox(
            "Prompts",
            list(sets),
            key=PROMPTS.key,
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
        PROMPTS.turn_to(sha256)
        st.rerun()


@st.cache_data(show_spinner=False)
def _checkable(sha256: str, _tasks: Sequence[Task]) -> Checkable:
    return Checkable.of(_tasks)


def _record(
    store: RouterStore, job: BackgroundJob, name: str, sha256: str, tasks: Sequence[Task], tiers: Sequence[str]
) -> None:
    known = {recorded.tier for recorded in store.recorded(sha256)}
    if job.start_button(
        "Record",
        key="router-record",
        begun=not known.isdisjoint(tiers),
        why_not="" if tiers else "Choose a tier to record.",
        help=f"{_ESTIMATE} It runs in the background: leave the page, cancel, come back and go on as you like. What "
        "was answered before under the same weights is not asked again.",
    ):
        comes_with_gearbox = sha256 == tasks_sha256(load_tasks(MIXED_FILE))
        store.keep_set(sha256, name, tasks, everybodys=comes_with_gearbox)
        DATA_SET.turn_to(sha256)
        chosen = [Tier.from_key(tier) for tier in tiers]
        job.start(partial(record, resources.get_engine(), store, name, tasks, chosen))
