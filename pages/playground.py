"""One prompt, two lanes, side by side: what a configuration saves, and what it changes."""

from functools import partial

import streamlit as st

from app import resources
from app.literal import literal
from app.runs.invariants import Measured, pair_fault
from app.runs.pricing import Prices, load_prices, prices_path
from app.runs.prompts import SamplePrompt, load_prompts
from app.runs.race import Race
from app.runs.verdict import judge
from app.session import playground
from app.store import Timeline
from app.views.gears.editor import edit_lane
from app.views.gears.sampling import sampling_summary
from app.views.gears.whole import choose_whole
from app.views.reports.token_stream import show_tokens
from app.views.runs.cost import show_costs
from app.views.runs.lane_view import LaneView
from app.views.runs.live import run_race, settle
from app.views.runs.naming import config_name
from app.views.shared.errors import errors_shown, show_error
from app.views.shared.faults import show_faults
from app.views.shared.missing_models import show_missing
from engine import list_models
from engine.errors import InvalidRequestError

SAMPLE, MACHINE = "playground-sample", "playground-machine"
TONE_ICONS = {
    "better": ":material/trending_up:",
    "worse": ":material/trending_down:",
    "even": ":material/trending_flat:",
    "none": ":material/help:",
}


def use_sample() -> None:
    """Put the chosen sample into the prompt box."""
    sample: SamplePrompt | None = st.session_state[SAMPLE]
    if sample:
        playground.use_prompt(sample.prompt, sample.system)


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


def show_comparison(race: Race) -> None:
    """The verdict itself, and what it is worth in money."""
    first, other = (run.outcome(playground.lane_title(lane)) for lane, run in race.lanes.items())
    verdict = judge(first, other)
    alert = {"better": st.success, "worse": st.warning}.get(verdict.tone, st.info)
    if verdict.details:
        alert(literal(" ".join(verdict.details)), title=literal(verdict.summary), icon=TONE_ICONS[verdict.tone])
    else:
        alert(literal(verdict.summary), icon=TONE_ICONS[verdict.tone])
    show_costs(
        {playground.lane_title(lane): run.metrics for lane, run in race.lanes.items()},
        per_hour=price_per_hour,
        currency=prices.currency,
        prompts_per_day=playground.prompts_per_day(),
    )


def show_verdict(race: Race) -> None:
    """Lane B against lane A, in words; figures that cannot be are no verdict."""
    measured = [Measured.of_lane(lane) for lane in race.lanes.values()]
    if measured[0] and measured[1] and (fault := pair_fault(measured[0], measured[1])):
        show_faults([fault])
    else:
        show_comparison(race)
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

race = playground.race()
if race and race.claimed:
    with errors_shown():
        settle(race)
running = race is not None and not race.claimed
chosen = [playground.lane_form(lane).model for lane in playground.LANES]

st.title("Playground", anchor=False)
prompt_row = st.grid(4, min_column_width=200)
if refusal := playground.refusal():
    show_error(refusal)
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
            help="Or press Ctrl+Enter in the prompt. Lane A runs first, then lane B.",
        )
        st.form_submit_button("Stop", key="playground-stop", icon=":material/stop:", disabled=not running)
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

# emptied at once by a new race, whose script run lasts as long as it does
verdict_place = st.empty()
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
            currency=prices.currency,
            start_warm=None if playground.starts_warm(lane) else partial(playground.start_warm, lane),
        )
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
