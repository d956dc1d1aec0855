"""Two to four runs side by side, or whole configurations: what they wrote, what it took, what was set differently."""

import streamlit as st

from app import resources
from app.literal import literal
from app.quantization.degradation import Alarms
from app.replay.recorded import ReplayLane
from app.session import compare as session
from app.session.compare import Order, Settings, What
from app.store import Timeline
from app.views.compare.comparison import (
    LETTERS,
    Compared,
    other_rounds,
    show_answers,
    show_bars,
    show_differences,
    show_timelines,
    show_verdicts,
)
from app.views.compare.configurations.comparison import compare_configurations
from app.views.compare.picker import pick_runs, runs_in_url
from app.views.race.noise import machine_noise
from app.views.reports.alarm import show_alarm
from app.views.reports.replay import show_replay
from app.views.runs.naming import COMPARE_PATH, page_url, run_name
from app.views.shared.chosen import choose_named

store = resources.get_store()


def show_link() -> None:
    """The address of what is on view, to take away."""
    st.caption("Link to this comparison")
    st.code(page_url(COMPARE_PATH, **st.query_params.to_dict()), language=None)


st.title("Compare", anchor=False)
what = choose_named("Compare", list(What), session.WHAT)
if what == What.CONFIGURATIONS:
    compare_configurations(store)
    show_link()
    st.stop()

wanted = runs_in_url()
runs = store.get_many(wanted)
found = {run.id for run in runs}
for run_id in wanted:
    if run_id not in found:
        st.warning(
            "A run of this link is not here: it was deleted, or is somebody else's.", icon=":material/search_off:"
        )

pick_runs(store, runs)

if not runs:
    st.info("Choose two to four runs, or send a prompt in the playground: its lanes can be compared here.")
    st.page_link("pages/playground.py", label="Open the playground", icon=":material/play_circle:")
    st.stop()

compared = [
    Compared(letter, run_name(run), run, store.timeline(run.id) or Timeline(), others)
    for letter, run, others in zip(LETTERS, runs, other_rounds(store, runs), strict=False)
]
noise = machine_noise()
if len(compared) == 1:
    st.info("Choose at least one more run to compare this one with.")
else:
    titles = {item.run.id: item.title for item in compared}
    pinned = choose_named(
        "Baseline",
        list(titles),
        session.BASELINE,
        shown=lambda id: literal(titles[id]),
        help="The others are compared with it.",
    )
    compared.sort(key=lambda item: item.run.id != pinned)
    runs = tuple(item.run for item in compared)
if len({run.asked for run in runs}) > 1:
    st.warning("These runs answered different prompts.", icon=":material/difference:")

show_verdicts(compared, noise)
alarms = Alarms.read(store.lab)
for item in compared:
    show_alarm(alarms.of_run(item.run.environment, item.run.backend, item.run.precision), of=item.title)

marked = st.toggle("Mark differences", value=True, disabled=len(compared) == 1)
show_answers(compared, marked=marked and len(compared) > 1)

st.subheader("Figures", anchor=False)
order = choose_named("Order", list(Order), session.ORDER)
show_bars(compared, noise, changed_first=order == Order.CHANGED)
show_timelines(compared)

st.subheader("Replay", anchor=False)
lanes = [ReplayLane.of(item.run, item.timeline, item.title) for item in compared if item.timeline]
for item in compared:
    if not item.timeline:
        st.caption(f"{literal(item.title)} cannot be replayed: no token times were kept of it.")
if lanes:
    show_replay(lanes, key="replay")

st.subheader("What differs", anchor=False)
settings = choose_named("Settings", list(Settings), session.SETTINGS)
everything = settings == Settings.ALL
titles_in_order = [item.title for item in compared]
show_differences(titles_in_order, [run.config for run in runs], what="configuration", alike=everything)
show_differences(titles_in_order, [run.environment for run in runs], what="environment", alike=everything)
show_link()
