"""One prompt, two lanes, side by side: what a configuration saves, and what it changes."""

import streamlit as st

from app import resources
from app.literal import literal
from app.runs.pricing import Prices, load_prices, prices_path
from app.runs.prompts import SamplePrompt, load_prompts
from app.runs.race import Race
from app.runs.verdict import judge
from app.session import state
from app.store import Timeline
from app.views.gears.lane_settings import choose_settings, show_summary
from app.views.reports.token_stream import show_tokens
from app.views.runs.lane_view import LaneView
from app.views.runs.live import run_race, settle
from app.views.shared.errors import errors_shown, show_error
from app.views.shared.missing_models import show_missing
from engine import list_models

TONE_ICONS = {
    "better": ":material/trending_up:",
    "worse": ":material/trending_down:",
    "even": ":material/trending_flat:",
    "none": ":material/help:",
}


def use_sample() -> None:
    """Put the chosen sample into the prompt box."""
    sample: SamplePrompt | None = st.session_state[state.SAMPLE]
    if sample:
        st.session_state[state.PROMPT], st.session_state[state.SYSTEM] = sample.prompt, sample.system


def use_machine() -> None:
    """Take over the chosen machine's price."""
    st.session_state[state.PRICE_PER_HOUR] = st.session_state[state.MACHINE].per_hour


def choose_price(prices: Prices, *, disabled: bool) -> None:
    """The machine's price, which the session may change."""
    st.selectbox(
        "Machine",
        prices.machines,
        format_func=lambda machine: machine.name,
        key=state.MACHINE,
        on_change=use_machine,
        disabled=disabled,
        help="From data/prices.toml.",
        persist_state="session",
    )
    st.caption(literal(st.session_state[state.MACHINE].note))
    st.number_input(
        f"Price per hour, {literal(prices.currency)}",
        min_value=0.0,
        step=0.01,
        format="%.4g",
        key=state.PRICE_PER_HOUR,
        disabled=disabled,
        help="An assumption until you put in what you pay. Cost is derived: this price × E2E, waiting left out.",
        persist_state="session",
    )


def show_verdict(race: Race) -> None:
    """Lane B against lane A, in words."""
    first, other = (run.outcome(state.lane_title(lane)) for lane, run in race.lanes.items())
    verdict = judge(first, other)
    alert = {"better": st.success, "worse": st.warning}.get(verdict.tone, st.info)
    if verdict.details:
        alert(literal(" ".join(verdict.details)), title=literal(verdict.summary), icon=TONE_ICONS[verdict.tone])
    else:
        alert(literal(verdict.summary), icon=TONE_ICONS[verdict.tone])
    if len(race.run_ids) > 1:
        st.page_link(
            "pages/compare.py",
            label="Compare the two runs",
            icon=":material/compare_arrows:",
            query_params={"compare": ",".join(race.run_ids)},
        )


def show_token_views(race: Race) -> None:
    """The answers token by token, one lane at a time."""
    written = [lane for lane, run in race.lanes.items() if run.tokens]
    if not written:
        return
    st.subheader("Token by token", anchor=False)
    lane = st.segmented_control(
        "Lane",
        written,
        default=written[-1],
        required=True,
        format_func=state.lane_title,
        key="playground-token-lane",
        label_visibility="collapsed",
    )
    show_tokens(Timeline.from_events(race.lanes[lane].tokens), key=f"playground-tokens-{lane}")


settings = resources.get_settings()
prices = load_prices(prices_path(settings.data_dir))
samples = load_prompts()
models = list_models(settings.models_dir)
installed = [model.name for model in models if model.installed]
state.prepare_playground(samples[0].prompt, prices.machines[0].per_hour)

race = state.race()
if race and race.claimed:
    with errors_shown():
        settle(race)
running = race is not None and not race.claimed
chosen = {st.session_state[state.lane_key(lane, "model")] for lane in state.LANES}
missing = any(model.name in chosen and not model.installed for model in models)

st.title("Playground", anchor=False)
prompt_row = st.grid(4, min_column_width=200)
with prompt_row.cell(column_span=3), st.form("playground-form", border=False):
    # open while the lanes run: Streamlit discards what a form sends to a widget that its submission disables
    st.text_area("Prompt", key=state.PROMPT, height=110, persist_state="session")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.form_submit_button(
            "Run both lanes",
            key="playground-run",
            type="primary",
            icon=":material/play_arrow:",
            on_click=state.start_race,
            disabled=running or missing,
            help="Or press Ctrl+Enter in the prompt. Lane A runs first, then lane B.",
        )
        st.form_submit_button("Stop", key="playground-stop", icon=":material/stop:", disabled=not running)
        with st.popover("System prompt", icon=":material/assignment:"):
            st.text_area(
                "System prompt",
                key=state.SYSTEM,
                height=110,
                placeholder="How the model should behave. Empty: the model's own default.",
                persist_state="session",
            )
with prompt_row.cell():
    st.selectbox(
        "Sample prompts",
        samples,
        index=None,
        format_func=lambda sample: f"{sample.category}: {sample.title}",
        key=state.SAMPLE,
        on_change=use_sample,
        disabled=running,
        placeholder="Choose one",
        help="Puts a prompt, and its system prompt, into the boxes.",
    )
    with st.popover("Machine price", icon=":material/payments:"):
        choose_price(prices, disabled=running)

if refusal := state.refusal():
    show_error(refusal)
show_missing(models, chosen, change="in the lanes below")

# emptied at once by a new race, whose script run lasts as long as it does
verdict_place = st.empty()
views: dict[str, LaneView] = {}
lanes = st.grid(len(state.LANES), min_column_width=340, border=True)
for lane in state.LANES:
    with lanes.cell():
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader(state.lane_title(lane), anchor=False, width="content")
            show_summary(lane)
        with st.expander("Settings", icon=":material/tune:", expanded=race is None):
            choose_settings(lane, installed, disabled=running)
        views[lane] = LaneView(price_per_hour=st.session_state[state.PRICE_PER_HOUR], currency=prices.currency)
        if race:
            views[lane].draw(race.lanes[lane], settled=not running)
tokens_place = st.empty()

if race and running:
    run_race(race, {lane: view.draw for lane, view in views.items()})
    st.rerun()
elif race:
    with verdict_place.container():
        show_verdict(race)
    with tokens_place.container():
        show_token_views(race)
