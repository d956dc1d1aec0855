"""A new experiment: the question, which prompts, which configurations, how many, and how long it will take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache

import streamlit as st

from app import resources, units
from app.estimates import answer_times
from app.experiments.planning.design import MOST_REPEATS, Design, NamedConfiguration
from app.experiments.planning.design import Size as HowMany
from app.experiments.planning.estimates import seconds_of
from app.experiments.planning.factorial import factorial, gears_on
from app.experiments.planning.prompt_sets import OF_RUNS, prompt_sets
from app.experiments.running.starting import EXPERIMENT, keep_design
from app.literal import literal
from app.prompts.choosing import stratified
from app.runs.together import sooner_on
from app.session import experiments as session
from app.session.identity import known_person
from app.store import Pass, RunStore
from app.views.experiments.autopilot.new import first_baseline, show_new_autopilot
from app.views.experiments.bring import bring_prompts, tell_brought
from app.views.gears.precisions import offered_precisions
from app.views.runs.naming import EXPERIMENTS_PATH
from app.views.shared.errors import errors_shown, show_error
from app.views.shared.missing_models import show_missing
from app.views.shared.sizes import Size, choose_size
from engine import Task, list_models
from engine.errors import InvalidRequestError
from engine.types import Precision, RunConfig

_KEY = "experiments-new"
_FIRST_MARGIN = 2.0
_IN_USE = (
    "What is in use now. After a model's name stands how its weights are held: bf16 is 16 bits; int8 and int4 take "
    "about a half and a third of the memory, and may answer otherwise."
)


class Way(StrEnum):
    """What is compared."""

    CONFIGURATIONS = "Configurations"
    GEARS = "What each gear adds"
    AUTOPILOT = "Autopilot"


def show_new(store: RunStore) -> None:
    """The form. Starting it opens the experiment."""
    no_servers = not resources.get_remote_models().names()
    if no_servers and show_missing(list_models(resources.get_settings().models_dir)):
        return
    offered = session.offered(offered_precisions())
    sets = prompt_sets(store)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        session.PROMPTS.prepare(list(sets))
        chosen_set = st.selectbox("Prompts", list(sets), key=session.PROMPTS.key, persist_state="session")
        if st.button("Bring prompts", icon=":material/upload_file:", key=f"{_KEY}-bring"):
            bring_prompts(store)
    tell_brought()
    way, tasks = _choose_way(), _prompts(chosen_set, sets[chosen_set])
    if not tasks:
        st.info("No run has been asked such a prompt yet. Choose another set.")
        return
    if way is Way.AUTOPILOT:
        show_new_autopilot(store, chosen_set, tasks, offered)
        return
    baseline, configurations = _choose_configurations(offered, each_gear=way is Way.GEARS)
    with st.popover("More", icon=":material/tune:"):
        margin, repeats, passes = _choose_more()
    try:
        design = _sized(store, chosen_set, tasks, baseline, configurations, margin, repeats, passes)
    except InvalidRequestError as error:
        show_error(error)
        return
    if design is not None:
        _start(store, design)


def _prompts(name: str, read: Callable[[], Sequence[Task]]) -> Sequence[Task]:
    return _asked(name, known_person(), read) if name in OF_RUNS else read()


@st.cache_data(show_spinner=False, ttl="1min", max_entries=20)
def _asked(name: str, person: str | None, _read: Callable[[], Sequence[Task]]) -> tuple[Task, ...]:
    """Prompts of runs, which are too many to be read for every drawing of the page."""
    return tuple(_read())


def _choose_way() -> Way:
    return Way(
        st.segmented_control(
            "Compare",
            list(Way),
            default=Way.CONFIGURATIONS,
            required=True,
            key=f"{_KEY}-way",
            persist_state="session",
            help="Configurations are held against a baseline. Or one configuration is measured with every set of its "
            "gears, from none to all. Or the autopilot searches for a configuration within limits that you set.",
        )
    )


def _choose_configurations(
    offered: Mapping[str, RunConfig], *, each_gear: bool
) -> tuple[str, list[NamedConfiguration]]:
    """The baseline's name, and all configurations, the baseline among them."""
    names = list(offered)
    if each_gear:
        with_gears = [name for name in names if len(gears_on(offered[name])) >= 2]
        if not with_gears:
            st.info("No configuration here has two gears on. Set one up in the Playground's lane B.")
            return "", []
        whole = st.selectbox("Configuration with all gears on", with_gears, key=f"{_KEY}-whole")
        return "", list(factorial(offered[whole]))
    session.BASELINE.prepare(names, first_baseline(names))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        baseline = st.selectbox("Baseline", names, key=session.BASELINE.key, help=_IN_USE, persist_state="session")
        others = [name for name in names if name != baseline]
        candidates = st.multiselect(
            "Candidates",
            others,
            default=_first_candidate(baseline, others),
            key=f"{_KEY}-candidates",
            placeholder="One or more",
            help="What could take its place. A lane of the Playground is taken as it is set now.",
        )
    named = [baseline, *(name for name in candidates if name != baseline)]
    return baseline, [NamedConfiguration(name, offered[name]) for name in named]


def _first_candidate(baseline: str, others: Sequence[str]) -> list[str]:
    wanted = f"{baseline.rpartition(' ')[0]} {Precision.INT4}"
    return [wanted] if wanted in others else []


def _choose_more() -> tuple[float, int, list[Pass]]:
    margin = st.number_input(
        "Margin, points",
        min_value=0.1,
        max_value=99.0,
        value=_FIRST_MARGIN,
        step=0.5,
        key=f"{_KEY}-margin",
        help="By so many percentage points quality may fall and still counts as kept. It can be changed later.",
    )
    repeats = st.number_input(
        "Repeats",
        min_value=1,
        max_value=MOST_REPEATS,
        value=1,
        key=f"{_KEY}-repeats",
        help="How often each prompt is timed. Greedy answers are the same each time, and given once for quality.",
    )
    passes = st.pills(
        "Passes",
        list(Pass),
        selection_mode="multi",
        default=list(Pass),
        format_func=lambda each: str(each).capitalize(),
        key=f"{_KEY}-passes",
        help="Quality: answers are given several at a time, with the very tokens they have alone. Speed: each has the "
        "engine to itself, configurations in random blocks.",
    )
    return float(margin), int(repeats), list(passes)


def _sized(
    store: RunStore,
    chosen_set: str,
    tasks: Sequence[Task],
    baseline: str,
    configurations: Sequence[NamedConfiguration],
    margin: float,
    repeats: int,
    passes: Sequence[Pass],
) -> Design | None:
    """The experiment at the size that is chosen; ``None`` as long as something is missing, which is told.

    Raises:
        InvalidRequestError: it cannot be made like this.
    """
    if len(configurations) < 2:
        st.caption("Choose at least one candidate." if baseline else "")
        return None
    candidate = configurations[-1].name if not baseline else " or ".join(each.name for each in configurations[1:])
    usual = f"Ship {candidate} instead of {baseline}?" if baseline else f"What does each gear of {candidate} add?"
    question = st.text_input("Question", placeholder=usual, key=f"{_KEY}-question", max_chars=300) or usual

    def of(size: HowMany) -> Design:
        chosen = tasks if size.prompts is None else stratified(tasks, size.prompts, 0)
        part = "" if len(chosen) == len(tasks) else f" ({len(chosen):,} of {len(tasks):,})"
        return Design(
            name=f"{question.rstrip('?')[:100]}",
            question=question,
            prompts=tuple(chosen),
            prompts_from=f"{chosen_set}{part}",
            configurations=tuple(configurations),
            repeats=repeats,
            margin_points=margin,
            passes=tuple(passes),
        )

    designs = {size: of(size) for size in HowMany}
    device = resources.get_engine().status().device
    times, sooner = cache(lambda model: answer_times(store, model, device)), sooner_on(device)
    sizes = [
        Size(
            str(size).capitalize(),
            len(design.prompts),
            "prompt",
            design.cells,
            seconds_of(design, times, sooner),
        )
        for size, design in designs.items()
    ]
    chosen = choose_size(sizes, key=f"{_KEY}-size", first=str(HowMany.QUICK).capitalize())
    return designs[HowMany(chosen.name.lower())]


def _start(store: RunStore, design: Design) -> None:
    names = ", ".join(each.name for each in design.configurations)
    st.caption(f"{units.counted(len(design.configurations), 'configuration')}: {literal(names)}")
    pressed = st.button(
        "Start",
        key=f"{_KEY}-start",
        type="primary",
        icon=":material/play_arrow:",
        help="It runs in the background: leave the page, pause, come back as you like. Results appear as they come.",
    )
    if not pressed:
        return
    with errors_shown():
        kept = store.experiments.get(keep_design(store, design))
        page = f"{EXPERIMENTS_PATH}?{session.EXPERIMENT_QUERY}={kept.id}"
        EXPERIMENT.start(resources.get_jobs(), resources.get_engine(), store, kept, page=page)
        session.open_experiment(kept.id)
        st.rerun()
