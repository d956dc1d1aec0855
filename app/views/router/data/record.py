"""The Router lab's recording: which tiers, how many prompts, how long it takes, and what is there of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import resources, units
from app.environment import measured_here
from app.literal import literal
from app.prompts.choosing import shares_of
from app.router.lab import RouterLab
from app.router.operation.profiles import installed_weights
from app.router.recorded.data_sets import RATED, DataSet
from app.router.recorded.estimates import SIZES, Estimate, Pace, measured_paces, recording_estimate
from app.router.recorded.judging import left_to_judge
from app.router.recorded.recording import Checkable, mixed_sha256
from app.router.recorded.recordings import Order, job_key
from app.router.recorded.sizes import by_size
from app.router.way import Step
from app.runs.together import sooner_on
from app.session.labs.router import DATA_QUERY, DATA_SET, STEP_QUERY, short_id
from app.store import RouterStore
from app.views.gears.precisions import offered_precisions
from app.views.router.data.manage import manage_set
from app.views.router.data.recorded import show_recorded
from app.views.router.judge import TRUST, judge_here, judge_weights, warn_of_judge
from app.views.runs.naming import ROUTER_PATH
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import errors_shown
from app.views.shared.missing_models import show_missing
from engine import JUDGED, MIXED_FILE, Task, list_models, load_tasks
from engine.types import Precision, Tier

MIXED = "Gearbox's mixed prompts"
_TIERS, _SIZE = "router-tiers", "router-size"
_REDRAWN = 20
"""Times that the table is drawn anew while a recording runs."""


def show_record(store: RouterStore, lab: RouterLab, data: DataSet | None) -> None:
    """What is recorded of a data set, and the way to more."""
    if data is not None and data.tiers:
        show_recorded(data)
    elif data is not None:
        st.info(f"Nothing is recorded of “{literal(data.name)}” yet.")
    if show_missing(list_models(resources.get_settings().models_dir)):
        return
    kept = data if data is not None and not data.built_in and data.id != RATED else None
    tasks = store.tasks(kept.id) if kept else load_tasks(MIXED_FILE)
    identity, name = (kept.id, kept.name) if kept else (mixed_sha256(), MIXED)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Record", anchor=False)
        manage_set(store, data, identity, name, tasks)
    if data is not None and kept is None:
        st.caption(
            f"“{literal(data.name)}” stays as it is: what is recorded here are {MIXED}, as a data set of their own."
        )
    _show_recording(store, lab, kept, identity, name, tasks)


def _show_recording(
    store: RouterStore, lab: RouterLab, kept: DataSet | None, identity: str, name: str, tasks: tuple[Task, ...]
) -> None:
    job = BackgroundJob(job_key(identity))
    checkable = _checkable(identity, tasks)
    tiers = _choose_tiers(lab)
    missing = _missing(store, identity, checkable.tasks, tiers)
    paces = _paces(store, identity, tiers)
    size = _choose_size(checkable.tasks, missing, paces)
    only = _part(checkable.tasks, size)
    wanted = {tier: [task for task in left if task.id in only] for tier, left in missing.items()}
    judged = {task.id for task in checkable.tasks if task.checker == JUDGED}
    judge = judge_here() if judged else None
    to_judge = 0
    if kept and judge:
        to_record = {(task.id, tier) for tier, tasks_left in wanted.items() for task in tasks_left}
        answers = {(prompt.prompt_id, tier) for prompt in kept.prompts for tier in prompt.answers}
        answers = {(id, tier) for id, tier in answers - to_record if id in judged & only and tier in tiers}
        to_judge = left_to_judge(answers, kept.judged, judge, judge_weights(judge))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _start(store, lab.parameters(), job, identity, name, tasks, tiers, only, wanted, judge, to_judge)
    if not job.running:  # its own progress says more
        _say_how_much(checkable, only, wanted, paces, to_judge)
    if judged:
        _say_who_judges(judge, tiers)
    _say_whose(store, identity)
    each = max(10, len(only) * max(1, len(tiers)) // _REDRAWN)

    def recorded() -> int:
        answers = sum(tier.answers - tier.to_renew for tier in store.recorded(identity))
        return (answers + store.judged_until(identity)[0]) // each

    job.follow(recorded)


@st.cache_data(show_spinner=False, max_entries=50)
def _checkable(identity: str, _tasks: Sequence[Task]) -> Checkable:
    return Checkable.of(_tasks)


def _choose_tiers(lab: RouterLab) -> list[str]:
    settings = resources.get_settings()
    models = [model for model in list_models(settings.models_dir) if model.installed]
    precisions = offered_precisions()
    options = [Tier(model=model.name, precision=precision).key for model in models for precision in precisions]
    usual = by_size([tier for tier in options if tier.endswith(f"@{Precision.INT4}")], lab.parameters())
    return st.multiselect(
        "Tiers",
        options,
        key=_TIERS,
        default=list(usual[-2:]),
        help="Each prompt is answered once by each tier, greedily, and checked. Two make a cascade, three a longer "
        "one; two precisions of one model can be tiers too.",
        persist_state="session",
    )


def _missing(store: RouterStore, identity: str, tasks: Sequence[Task], tiers: Sequence[str]) -> dict[str, list[Task]]:
    """The prompts that each tier has not answered under the weights installed now."""
    latest: dict[str, str] = {}
    for recorded in store.recorded(identity):
        latest.setdefault(recorded.tier, recorded.weights_sha256)
    models_dir = resources.get_settings().models_dir
    found = {}
    for tier in tiers:
        weights = installed_weights(Tier.from_key(tier).model, models_dir) or latest.get(tier, "")
        answered = store.answered(identity, tier, weights)
        found[tier] = [task for task in tasks if task.id not in answered]
    return found


def _paces(store: RouterStore, identity: str, tiers: Sequence[str]) -> dict[str, Pace]:
    device = resources.get_engine().status().device
    return measured_paces(
        store,
        resources.get_store(),
        tiers,
        lambda environment: measured_here(environment, device),
        sooner_on(device),
        identity,
    )


def _part(tasks: Sequence[Task], size: str) -> frozenset[str]:
    """Ids of the prompts of a size."""
    return shares_of({task.id: task.category for task in tasks}, SIZES[size])


def _choose_size(tasks: Sequence[Task], missing: Mapping[str, Sequence[Task]], paces: Mapping[str, Pace]) -> str:
    """How many of the prompts; only asked where there are more than a quick recording takes."""
    smaller = [name for name, count in SIZES.items() if count is not None and count < len(tasks)]
    if not smaller:
        return "Full"
    names = [*smaller, "Full"]
    says = {}
    for name in names:
        only = _part(tasks, name)
        found = recording_estimate({tier: [t for t in left if t.id in only] for tier, left in missing.items()}, paces)
        time = f" · {_about(found)}" if found.seconds else ""
        says[name] = f"{name} · {len(only):,} prompts{time}"
    return str(
        st.segmented_control(
            "Size",
            names,
            default=names[0],
            required=True,
            key=_SIZE,
            format_func=lambda name: says.get(name, name),
            help="A smaller recording takes its share of every category, and is part of the larger ones: it can be "
            "completed later.",
            persist_state="session",
        )
        or names[0]
    )


def _start(
    store: RouterStore,
    parameters: Mapping[str, int],
    job: BackgroundJob,
    identity: str,
    name: str,
    tasks: tuple[Task, ...],
    tiers: Sequence[str],
    only: frozenset[str],
    wanted: Mapping[str, Sequence[Task]],
    judge: Tier | None,
    to_judge: int,
) -> None:
    left = sum(map(len, wanted.values()))
    begun = any(len(missing) < len(only) for missing in wanted.values())
    again = bool(tiers) and not left and not to_judge
    label = "Record again" if again else "Add to the recording" if job.running else "Resume" if begun else "Record"
    if not left and to_judge and not job.running:
        label = f"Judge {units.counted(to_judge, 'answer')}"
    why_not = "" if tiers else "Choose a tier to record."
    if job.running and (again or _is_asked(identity, tiers, only)):
        why_not = "All of this is recorded, or being recorded."
    pressed = st.button(
        label,
        key="router-record",
        type="secondary" if again or job.running else "primary",
        icon=":material/refresh:" if again else ":material/play_arrow:",
        disabled=bool(why_not),
        help=why_not
        or (
            "All of this is recorded. Recorded again, each answer stays until the new one takes its place."
            if again
            else "It runs in the background: leave the page, cancel, come back and go on as you like. What was "
            "answered before under the same weights is not asked again."
        ),
    )
    if not pressed or why_not:
        return
    order = Order(
        store=store,
        identity=identity,
        name=name,
        tasks=tasks,
        tiers=tuple(Tier.from_key(tier) for tier in tiers),
        only=only,
        again=again,
        parameters=parameters,
        page=f"{ROUTER_PATH}?{STEP_QUERY}={Step.RECORD}&{DATA_QUERY}={short_id(identity)}",
        judge=judge,
    )
    with errors_shown():
        if identity == mixed_sha256():
            store.keep_set(identity, name, tasks, everybodys=True)
        DATA_SET.turn_to(identity)
        resources.get_recordings().ask(resources.get_jobs(), resources.get_engine(), order)
        st.rerun()


def _is_asked(identity: str, tiers: Sequence[str], only: frozenset[str]) -> bool:
    """Whether the recording that runs will come to all of this."""
    asked = {
        tier.key
        for order in resources.get_recordings().orders(identity)
        if order.only is None or only <= order.only
        for tier in order.tiers
    }
    return asked.issuperset(tiers)


def _say_how_much(
    checkable: Checkable,
    only: frozenset[str],
    wanted: Mapping[str, Sequence[Task]],
    paces: Mapping[str, Pace],
    to_judge: int,
) -> None:
    left = sum(map(len, wanted.values()))
    parts = [f"{units.counted(len(only), 'prompt')}, {units.counted(left, 'answer')} to record"]
    if left:
        found = recording_estimate(wanted, paces)
        if found.seconds:
            recorded = all(paces[tier].source == "recordings" for tier in wanted if tier in paces)
            by = "earlier recordings" if recorded else "stored runs"
            parts.append(f"{_about(found)} at the pace of {by} here, loading left out")
        if found.unknown:
            parts.append(f"nothing was measured here yet of {literal(', '.join(found.unknown))}: how long is not known")
    elif wanted:
        parts.append("all of it is there")
    if to_judge:
        parts.append(f"{units.counted(to_judge, 'answer')} to judge")
    if checkable.left_out:
        parts.append(f"{units.counted(checkable.left_out, 'prompt')} left out. {literal(checkable.reason)}")
    st.caption(" · ".join(parts))


def _say_who_judges(judge: Tier | None, tiers: Sequence[str]) -> None:
    """Which model judges answers that no checker can, and what speaks against it."""
    if judge is None:
        st.warning(
            "These prompts are to be judged by a model, and none is installed that could.", icon=":material/gavel:"
        )
        return
    st.caption(
        f":material/gavel: Answers are judged by {literal(str(judge))}, the largest model installed, once they are "
        "recorded. The time that takes comes on top, and counts in no figure.",
        help=TRUST,
    )
    warn_of_judge(judge, [Tier.from_key(tier) for tier in tiers])


def _about(found: Estimate) -> str:
    return f"{units.about(found.seconds or 0.0)}{' and more' if found.unknown else ''}"


def _say_whose(store: RouterStore, identity: str) -> None:
    """Who records the set now, where somebody else does or several do."""
    orders = resources.get_recordings().orders(identity)
    whose = [
        (
            "you" if order.store.person_id == store.person_id else "somebody else",
            ", ".join(tier.key for tier in order.tiers),
        )
        for order in orders
    ]
    if len(whose) > 1 or any(who == "somebody else" for who, _ in whose):
        said = "; then ".join(f"{who}: {literal(tiers)}" for who, tiers in whose)
        st.caption(f":material/group: Being recorded for {said}. Cancelling ends it for all; what is recorded is kept.")
