"""What is remembered of the Playground: by a session the prompt, the lanes' settings and the machine's price; for a
person the last race, which all of their tabs show."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import cast

import streamlit as st

from app import resources
from app.remote.prices import ListPrice
from app.runs.race import HEAD_START_S, Race
from app.session import presets
from app.session.configuration import DEFAULT_CONFIG, Form, values_of
from app.session.identity import person_id
from app.store import SavedConfiguration
from engine.errors import GearboxError, InvalidRequestError
from engine.types import (
    Backend,
    CacheMode,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    SpeculationConfig,
)

LANES = ("a", "b")
"""In the order they run: the plain one, the optimised one."""

PROMPT = "playground-prompt"
SYSTEM = "playground-system"
PRICE_PER_HOUR = "playground-price-per-hour"
ROUNDS = "playground-rounds"
ROUNDS_OFFERED = (1, 3, 5)
"""How often a race may let each lane answer; the first is the default."""
PROMPTS_PER_DAY = "playground-prompts-per-day"
FIRST_PROMPTS_PER_DAY = 1_000

_PLACE = "playground"
_REFUSAL = "playground-refusal"
_NOTICE = "playground-notice"
_FIRST = {
    "a": replace(DEFAULT_CONFIG, backend=Backend.REFERENCE, optimization=OptimizationConfig()),
    "b": DEFAULT_CONFIG,
}
_DRAFTED = ("backend", "model", "quantization", "precision", "speculation", "drafter", "gamma")


def lane_title(lane: str) -> str:
    """What a lane is called on the page: "Lane A"."""
    return f"Lane {lane.upper()}"


def lane_form(lane: str) -> Form:
    """The configuration of a lane, as its widgets are set."""
    return Form(f"lane-{lane}", _FIRST[lane])


def warm_key(lane: str) -> str:
    """The key of the toggle that lets a lane reuse what earlier runs kept."""
    return lane_form(lane).key("warm")


def prepare(prompt: str, price_per_hour: float) -> None:
    """Give the prompt and the price their first values; values already there stay."""
    st.session_state.setdefault(PROMPT, prompt)
    st.session_state.setdefault(SYSTEM, "")
    st.session_state.setdefault(PRICE_PER_HOUR, price_per_hour)
    st.session_state.setdefault(ROUNDS, ROUNDS_OFFERED[0])
    st.session_state.setdefault(PROMPTS_PER_DAY, FIRST_PROMPTS_PER_DAY)


def use_prompt(prompt: str, system: str) -> None:
    """Put a prompt and its system prompt into the boxes."""
    st.session_state[PROMPT], st.session_state[SYSTEM] = prompt, system


def price_per_hour(first: float) -> float:
    """What the machine costs in this session; ``first`` unless the session says otherwise."""
    return float(st.session_state.get(PRICE_PER_HOUR, first))


def list_prices() -> dict[str, ListPrice]:
    """What servers' models cost, as far as it is known; a run database that cannot be read is told of elsewhere."""
    with suppress(GearboxError):
        return resources.get_remote_models().prices()
    return {}


def prompts_per_day() -> int:
    """The traffic that costs are reckoned for."""
    return int(st.session_state.get(PROMPTS_PER_DAY) or FIRST_PROMPTS_PER_DAY)


def set_price_per_hour(price: float) -> None:
    """Let the machine cost so much."""
    st.session_state[PRICE_PER_HOUR] = price


def use_drafter(model: str, precision: Precision, speculation: SpeculationConfig) -> None:
    """Set the optimised lane to a model that another one drafts for; its other gears and its sampling stay."""
    values = values_of(RunConfig(model=model, optimization=OptimizationConfig.at(precision, speculation=speculation)))
    lane_form(LANES[1]).set({setting: values[setting] for setting in _DRAFTED})


def use_all_gears() -> None:
    """Set the optimised lane to every gear on the largest installed model, warm, and the plain lane to that model
    without any: the race then shows what the gears do."""
    config = presets.all_gears(presets.models_here())
    if config is None:
        return
    first, other = LANES
    presets.put_gears(lane_form(first), presets.plain(config.model))
    presets.put_gears(lane_form(other), config)
    set_warm(other, warm=True)


def use_plain() -> None:
    """Set the optimised lane to the plain lane's model without any gear."""
    first, other = LANES
    presets.put_gears(lane_form(other), presets.plain(lane_form(first).model or DEFAULT_CONFIG.model))


def use_saved(lane: str, saved: SavedConfiguration) -> None:
    """Set all of a lane as it was saved.

    Raises:
        InvalidRequestError: it can no longer be read.
    """
    lane_form(lane).set(values_of(RunConfig.from_dict(saved.config)))
    set_warm(lane, warm=saved.warm)


def hold_against(plain: RunConfig, optimised: RunConfig, notice: str) -> None:
    """Set both lanes, from another page, and leave word of it for the Playground. How tokens are sampled stays."""
    for lane, config in zip(LANES, (plain, optimised), strict=True):
        presets.put_gears(lane_form(lane), config)
        set_warm(lane, warm=False)
    st.session_state[_NOTICE] = notice


def take_notice() -> str | None:
    """What another page has set the lanes to, told once."""
    return cast("str | None", st.session_state.pop(_NOTICE, None))


def starts_warm(lane: str) -> bool:
    """Whether a lane's next run reuses what earlier ones kept."""
    form = lane_form(lane)
    return is_warm(lane) and bool(form.value("kv-cache")) and form.value("cache-mode") == CacheMode.PREFIX


def is_warm(lane: str) -> bool:
    """Whether a lane reuses what earlier runs kept."""
    return bool(st.session_state.get(warm_key(lane), False))


def set_warm(lane: str, *, warm: bool) -> None:
    """Let a lane reuse what earlier runs kept, or compute its whole prompt."""
    st.session_state[warm_key(lane)] = warm


def start_warm(lane: str) -> None:
    """Let a lane keep KV across runs and reuse it from the next one on."""
    lane_form(lane).set({"kv-cache": True, "cache-mode": CacheMode.PREFIX})
    set_warm(lane, warm=True)


def lane_request(lane: str) -> GenerationRequest:
    """The prompt, to be answered as a lane is set.

    Raises:
        InvalidRequestError: the prompt is empty, or a setting is missing or out of range.
    """
    system = (st.session_state[SYSTEM] or "").strip()
    user = Message("user", st.session_state[PROMPT] or "")
    return GenerationRequest(
        messages=(Message("system", system), user) if system else (user,),
        config=lane_form(lane).config(),
        cache_salt=person_id(),
        cold=not is_warm(lane),
        exclusive=True,
    )


def race() -> Race | None:
    """The last race of this person, over or not."""
    return resources.get_races().find(person_id(), _PLACE)


def start_race() -> None:
    """Have the lanes answer as they are set, in the background. Returns once the engine has read the prompt, or soon:
    drawing the page meanwhile would take time from it.

    A refusal is remembered instead where that cannot be: a setting is out of range, or a race runs already. The last
    race stays then.
    """
    st.session_state.pop(_REFUSAL, None)
    try:
        rounds = st.session_state.get(ROUNDS) or ROUNDS_OFFERED[0]
        # rounds are compared: what a cascade tried in one it tries in the next
        lanes = {lane: replace(lane_request(lane), unguarded=rounds > 1) for lane in LANES}
        started = Race.between(lanes, rounds=rounds)
        resources.get_races().start(
            started,
            person=person_id(),
            place=_PLACE,
            engine=resources.get_engine(),
            store=resources.get_store(),
        )
    except GearboxError as error:
        st.session_state[_REFUSAL] = str(error)
        return
    started.wait_until_read(HEAD_START_S)


def stop_race() -> None:
    """End the race that runs; what was written is kept."""
    st.session_state.pop(_REFUSAL, None)
    if running := race():
        running.stop()


def compare_like_with_like() -> None:
    """Race a lane against itself with its gears off, both on Gearbox's own kernels.

    The lane that is set to the reference backend, else lane A, becomes the plain one: in 16 bits, with the other
    lane's model, sampling and start. Nothing changes but a refusal is remembered where the other lane has a setting
    that is missing or out of range.
    """
    plain = next((lane for lane in LANES if lane_form(lane).value("backend") is Backend.REFERENCE), LANES[0])
    (other,) = (lane for lane in LANES if lane != plain)
    try:
        config = lane_form(other).config()
    except InvalidRequestError as error:
        st.session_state[_REFUSAL] = str(error)
        return
    lane_form(plain).set(values_of(replace(config, backend=Backend.LOCAL, optimization=OptimizationConfig())))
    st.session_state[warm_key(plain)] = st.session_state.get(warm_key(other), False)
    start_race()


def refusal() -> str | None:
    """Why the last race asked for could not start, for the user."""
    return cast("str | None", st.session_state.get(_REFUSAL))
