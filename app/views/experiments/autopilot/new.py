"""A new autopilot: the limits, what it may vary, and how long it may take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import resources, units
from app.cascade.pairs import by_size
from app.experiments.autopilot.goal import MARGIN_POINTS, MINUTES, PERCENTILE, Figure, Goal
from app.experiments.autopilot.plan import Plan, hold_out
from app.experiments.autopilot.running import AUTOPILOT, keep_plan
from app.experiments.autopilot.space import Candidates, Gear, Space, candidates, drafting_models
from app.experiments.planning.design import NamedConfiguration
from app.literal import literal
from app.session import experiments as session
from app.session import presets
from app.store import RunStore
from app.views.gears.precisions import choose_precisions, offered_precisions
from app.views.runs.naming import EXPERIMENTS_PATH
from app.views.shared.errors import errors_shown, show_error
from engine import Task
from engine.errors import GearboxError, InvalidRequestError
from engine.types import Precision, RunConfig

_KEY = "autopilot-new"
_MIB = 2**20
_PERCENTILES = (50, 90, 95, 99)
_REFRESH_EVERY = "1s"
_FIRST_SECONDS = {Figure.TTFT: 0.5, Figure.TPOT: 0.05, Figure.E2E: 5.0}


def first_baseline(names: Sequence[str]) -> str | None:
    """The first that is in 16 bits."""
    return next((name for name in names if name.endswith(f" {Precision.BF16}")), None)


def show_new_autopilot(
    store: RunStore, chosen_set: str, tasks: Sequence[Task], offered: Mapping[str, RunConfig]
) -> None:
    """The form. Starting it opens the autopilot.

    Args:
        store: keeps it.
        chosen_set: the name of the prompts.
        tasks: the prompts.
        offered: the configurations that can be a baseline, by name.
    """
    st.caption(
        "It searches for a configuration within these limits, by rounds in which the better half goes on, and shows it "
        "on a half of the prompts that has no part in the search."
    )
    names = list(offered)
    session.BASELINE.prepare(names, first_baseline(names))
    baseline = st.selectbox(
        "Baseline",
        names,
        key=session.BASELINE.key,
        help="What is in use now: quality is held against its own.",
        persist_state="session",
    )
    try:
        goal = _choose_goal()
        found, waiting = _choose_space(offered[baseline])
        plan = Plan(
            name=f"{goal.latency_name} within {units.seconds(goal.seconds)}",
            goal=goal,
            baseline=NamedConfiguration(f"{baseline} (baseline)", offered[baseline]),
            candidates=found.configurations,
            possible=found.possible,
            prompts=tuple(tasks),
            prompts_from=chosen_set,
            held_out=hold_out(tasks, 0),
            max_tokens=_choose_length(),
        )
    except InvalidRequestError as error:
        show_error(error)
        return
    _tell(plan, found)
    pressed = st.button(
        "Start",
        key=f"{_KEY}-start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=waiting or not plan.candidates,
        help="It runs in the background: leave the page, pause, come back as you like.",
    )
    if pressed:
        with errors_shown():
            kept = store.autopilots.get(keep_plan(store, plan))
            page = f"{EXPERIMENTS_PATH}?{session.AUTOPILOT.query}={kept.id}"
            AUTOPILOT.start(resources.get_jobs(), resources.get_engine(), store, kept, page=page)
            session.AUTOPILOT.open(kept.id)
            st.rerun()


def _choose_goal() -> Goal:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        figure = Figure(
            st.segmented_control(
                "Latency",
                list(Figure),
                default=Figure.E2E,
                required=True,
                key=f"{_KEY}-figure",
                persist_state="session",
                help="TTFT: time to first token. TPOT: time per output token after the first. E2E: the whole answer. "
                "With the engine alone.",
            )
        )
        percentile = st.selectbox(
            "Percentile",
            _PERCENTILES,
            index=_PERCENTILES.index(PERCENTILE),
            format_func=lambda each: f"p{each}",
            key=f"{_KEY}-percentile",
            width=110,
            help="A high percentile needs many prompts to be shown: an upper bound of p95 needs 72.",
        )
        unit, scale = ("s", 1.0) if figure is Figure.E2E else ("ms", 1000.0)
        most = st.number_input(
            f"At most, {unit}",
            min_value=0.001,
            value=_FIRST_SECONDS[figure] * scale,
            key=f"{_KEY}-most-{figure}",
            width=150,
        )
        margin = st.number_input(
            "Quality floor, points below the baseline",
            min_value=0.1,
            max_value=99.0,
            value=MARGIN_POINTS,
            step=0.5,
            key=f"{_KEY}-margin",
            width=270,
            help="The smaller, the more held-out prompts it takes to show that it is kept: 2 points take 149 at least.",
        )
        memory = st.number_input(
            "Memory ceiling, MiB",
            min_value=1.0,
            value=None,
            step=64.0,
            placeholder="None",
            key=f"{_KEY}-memory",
            width=170,
            help="Of the weights of all models that a request needs, those that only draft included, and its KV "
            "together.",
        )
        minutes = st.number_input(
            "Time budget, min",
            min_value=0.5,
            value=MINUTES,
            step=5.0,
            key=f"{_KEY}-budget",
            width=150,
            help="Of all measurements, loading included: two thirds for the search, the rest for the evidence.",
        )
    return Goal(
        figure=figure,
        percentile=percentile,
        seconds=float(most) / scale,
        margin_points=float(margin),
        memory_bytes=memory * _MIB if memory else None,
        budget_s=60 * float(minutes),
    )


def _choose_length() -> int | None:
    most = st.session_state.get(f"{_KEY}-length")
    return int(most) if most else None


def _choose_space(baseline: RunConfig) -> tuple[Candidates, bool]:
    """What there is to try, and whether it is not known yet which models can draft."""
    models = [model.name for model in by_size(presets.models_here())]
    with st.popover("What it may vary", icon=":material/tune:"):
        chosen = st.multiselect("Models", models, default=models, key=f"{_KEY}-models", persist_state="session")
        precisions = choose_precisions(f"{_KEY}-precisions", offered_precisions(), disabled=False)
        gears = st.pills(
            "Gears",
            list(Gear),
            selection_mode="multi",
            default=list(Gear),
            format_func=lambda each: str(each)[:1].upper() + str(each)[1:],
            key=f"{_KEY}-gears",
            help="Beside the model and its precision: KV in 8 bits or kept across requests, who drafts and how much, "
            "a smaller model in front with several thresholds.",
        )
        st.number_input(
            "Tokens of an answer, at most",
            min_value=1,
            value=None,
            placeholder="As the prompts say",
            key=f"{_KEY}-length",
            help="Shorter answers make the search faster, and may be cut before they are right.",
        )
    models = [name for name in models if name in chosen]
    drafts, waiting = _drafts(models) if Gear.SPECULATION in gears else ({}, False)
    if waiting:
        st.fragment(_wait_for_drafts, run_every=_REFRESH_EVERY)(models)
    space = Space(
        models=tuple(models),
        precisions=tuple(each for each in offered_precisions() if each in precisions),
        gears=tuple(map(Gear, gears)),
        drafts=drafts,
    )
    return candidates(space, baseline), waiting


def _drafts(models: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], bool]:
    """By model, which others can draft for it, as far as the engine has told; and whether it has not told all yet."""
    found, waiting = dict[str, tuple[str, ...]](), False
    for model in models:
        try:
            choices = resources.get_drafter_choices().of(model, Precision.BF16)
        except GearboxError:
            continue
        waiting |= choices is None
        found[model] = drafting_models(choices or (), models)
    return found, waiting


def _wait_for_drafts(models: Sequence[str]) -> None:
    st.caption(":material/hourglass_empty: Asking the engine which models can draft")
    if not _drafts(models)[1]:
        st.rerun()


def _tell(plan: Plan, found: Candidates) -> None:
    """What will be tried, and what cannot be."""
    drawn = len(plan.candidates)
    of = f" of the {found.possible:,} that can be combined, drawn at random" if drawn < found.possible else ""
    said = [
        f"{units.counted(drawn, 'candidate')}{of}",
        f"{units.counted(len(plan.searched), 'prompt')} to search on, {len(plan.kept_apart):,} held out",
    ]
    if found.skipped:
        why = max(found.skipped, key=lambda reason: found.skipped[reason])
        said.append(f"{sum(found.skipped.values()):,} combinations left out, such as: {literal(why)}")
    st.caption(" · ".join(said))
    if not drawn:
        st.info("Nothing is left to try: choose models and precisions under “What it may vary”.")
