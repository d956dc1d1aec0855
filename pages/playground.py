"""One prompt, two lanes, side by side: what a configuration saves, and what it changes."""

from functools import partial

import streamlit as st

from app import resources
from app.costs.pricing import Prices, load_prices, prices_path
from app.literal import literal
from app.runs.prompts import SamplePrompt, load_prompts
from app.runs.race import LaneRun, Race
from app.session import playground
from app.store import Timeline
from app.units import counted
from app.views.gears.editor import edit_lane
from app.views.gears.whole import choose_whole
from app.views.race.lane import LaneView
from app.views.race.live import follow
from app.views.race.rounds import RoundView
from app.views.race.verdict import show_verdict
from app.views.reports.sampling import sampling_summary
from app.views.reports.token_stream import show_tokens
from app.views.runs.naming import config_name, one_line
from app.views.shared.errors import show_error
from app.views.shared.missing_models import show_missing
from app.views.shared.promise import show_unshown
from engine import list_models
from engine.errors import InvalidRequestError

SAMPLE, MACHINE = "playground-sample", "playground-machine"


def use_sample() -> None:
    """Put the chosen sample into the prompt box."""
    sample: SamplePrompt | None = st.session_state[SAMPLE]
    if sample:
        playground.use_prompt(sample.prompt, sample.system)


@st.fragment(run_every="5s")
def watch_other_tabs(shown: Race | None) -> None:
    """Draw the page again once this person has started a race in another tab."""
    if playground.race() is not shown:
        st.rerun()


def use_machine() -> None:
    """Take over the chosen machine's price."""
    playground.set_price_per_hour(st.session_state[MACHINE].per_hour)


def choose_price(prices: Prices, *, disabled: bool) -> None:
    """The machine's price, which the session may change."""
    st.selectbox(
        "Machine",
        prices.machines,
        format_func=lambda machine: machine.name,
        key=MACHINE,
        on_change=use_machine,
        disabled=disabled,
        help="From data/prices.toml.",
        persist_state="session",
    )
    st.caption(literal(st.session_state[MACHINE].note))
    st.number_input(
        f"Price per hour, {literal(prices.currency)}",
        min_value=0.0,
        step=0.01,
        format="%.4g",
        key=playground.PRICE_PER_HOUR,
        disabled=disabled,
        help="An assumption until you put in what you pay. Cost is derived: this price × E2E, waiting left out.",
        persist_state="session",
    )


def choose_traffic(*, disabled: bool) -> None:
    """How many prompts a day the costs are reckoned for."""
    st.number_input(
        "Prompts a day",
        min_value=1,
        step=100,
        key=playground.PROMPTS_PER_DAY,
        disabled=disabled,
        help="Each taken to be like this one: the verdict says what a day of them costs.",
        persist_state="session",
    )


def show_summary(lane: str) -> None:
    """A lane's settings on one line, or what is wrong with them."""
    try:
        config = playground.lane_form(lane).config()
    except InvalidRequestError as error:
        st.caption(f":red[{literal(str(error))}]")
        return
    st.caption(f"{literal(config_name(config))} · {sampling_summary(config.sampling)}")
    show_unshown(config)


def draw_lane(race: Race, lane: str, run: LaneRun) -> None:
    """Show how far a lane is, and which round it is in."""
    views[lane].draw(run)
    round_view.draw(race)


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
        format_func=playground.lane_title,
        key="playground-token-lane",
        label_visibility="collapsed",
    )
    show_tokens(Timeline.from_events(race.lanes[lane].tokens), key=f"playground-tokens-{lane}")


settings = resources.get_settings()
prices = load_prices(prices_path(settings.data_dir))
samples = load_prompts()
models = list_models(settings.models_dir)
installed = [model.name for model in models if model.installed]
playground.prepare(samples[0].prompt, prices.machines[0].per_hour)
price_per_hour = playground.price_per_hour(prices.machines[0].per_hour)
list_prices = playground.list_prices()

race = playground.race()
running = race is not None and not race.over.is_set()
chosen = [playground.lane_form(lane).model for lane in playground.LANES]

st.title("Playground", anchor=False)
prompt_row = st.grid(4, min_column_width=200)
if refusal := playground.refusal():
    show_error(refusal)
if notice := playground.take_notice():
    st.success(literal(notice), icon=":material/alt_route:")
missing = show_missing(models, chosen, change="in the lanes below")
with prompt_row.cell(column_span=3), st.form("playground-form", border=False):
    # open while the lanes run: Streamlit discards what a form sends to a widget that its submission disables
    st.text_area("Prompt", key=playground.PROMPT, height=110, persist_state="session")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.form_submit_button(
            "Run both lanes",
            key="playground-run",
            type="primary",
            icon=":material/play_arrow:",
            on_click=playground.start_race,
            disabled=running or missing,
            help="Or press Ctrl+Enter in the prompt. Lane A runs first, then lane B; every second round the other way "
            "about. One round tells large differences only.",
        )
        st.segmented_control(
            "Rounds",
            playground.ROUNDS_OFFERED,
            key=playground.ROUNDS,
            required=True,
            format_func=lambda rounds: counted(rounds, "round"),
            label_visibility="collapsed",
            persist_state="session",
        )
        st.form_submit_button(
            "Stop",
            key="playground-stop",
            icon=":material/stop:",
            on_click=playground.stop_race,
            disabled=not running,
        )
        with st.popover("System prompt", icon=":material/assignment:"):
            st.text_area(
                "System prompt",
                key=playground.SYSTEM,
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
        key=SAMPLE,
        on_change=use_sample,
        disabled=running,
        placeholder="Choose one",
        help="Puts a prompt, and its system prompt, into the boxes.",
    )
    with st.popover("Machine price", icon=":material/payments:"):
        choose_price(prices, disabled=running)
        choose_traffic(disabled=running)

choose_whole(models, disabled=running)

if race and (asked := race.lanes[playground.LANES[0]].request.prompt) != st.session_state[playground.PROMPT]:
    st.caption(f"The lanes answer: “{literal(one_line(asked, 100))}”")
# emptied at once by a new race, whose script run lasts as long as it does
verdict_place = st.empty()
round_view = RoundView()
views: dict[str, LaneView] = {}
lanes = st.grid(len(playground.LANES), min_column_width=340, border=True)
for lane in playground.LANES:
    with lanes.cell():
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader(playground.lane_title(lane), anchor=False, width="content")
            show_summary(lane)
        with st.expander("Settings", icon=":material/tune:", expanded=race is None):
            edit_lane(playground.lane_form(lane), installed, warm_key=playground.warm_key(lane), disabled=running)
        views[lane] = LaneView(
            price_per_hour=price_per_hour,
            prices=list_prices,
            currency=prices.currency,
            start_warm=None if playground.starts_warm(lane) else partial(playground.start_warm, lane),
        )
        if race and not running:
            views[lane].draw(race.lanes[lane], settled=True)
tokens_place = st.empty()
if race:
    round_view.draw(race)

if race and running:
    follow(race, {lane: partial(draw_lane, race, lane) for lane in views})
    st.rerun()
elif race:
    with verdict_place.container():
        if race.why_stopped:
            st.info(literal(race.why_stopped), icon=":material/visibility_off:")
        show_verdict(
            race,
            price_per_hour=price_per_hour,
            prices=list_prices,
            currency=prices.currency,
            prompts_per_day=playground.prompts_per_day(),
        )
    with tokens_place.container():
        show_token_views(race)
watch_other_tabs(race)
