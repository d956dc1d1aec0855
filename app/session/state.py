"""The session's state: its keys, their first values, and typed ways to read them."""

from __future__ import annotations

import uuid
from typing import Any, cast

import streamlit as st

from app.cascade.cascades import FIRST_VALUES, cascade_of
from app.computed import Computed
from app.jobs import Jobs
from app.quantization.prompt_check import PromptCheck
from app.runs.race import LaneRun, Race
from app.speculation.drafted_prompt import DraftedPrompt
from app.speculation.drafters import AUTO, drafter_key, drafter_of
from engine.errors import InvalidRequestError
from engine.types import (
    Backend,
    CacheMode,
    GearKind,
    GenerationRequest,
    KVDtype,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
)

LANES = ("a", "b")
"""The playground's lanes, in the order they run."""

PROMPT = "playground-prompt"
SYSTEM = "playground-system"
SAMPLE = "playground-sample"
MACHINE = "playground-machine"
PRICE_PER_HOUR = "playground-price-per-hour"

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_MAX_TOKENS = 128

_SESSION_ID = "session-id"
_RACE = "playground-race"
_REFUSAL = "playground-refusal"
_PROMPT_CHECK = "lab-prompt-check"
_DRAFTED_PROMPT = "speculation-drafted-prompt"
_OTHER_ANSWERS = "cascade-other-answers"

_LANE_DEFAULTS: dict[str, Any] = {
    "backend": Backend.LOCAL,
    "quantization": True,
    "precision": Precision.INT4,
    "kv-cache": False,
    "cache-mode": CacheMode.PREFIX,
    "warm": False,
    "kv-int8": False,
    "kv-window": None,
    "speculation": False,
    "drafter": AUTO,
    "gamma": None,
    "cascade": False,
    **{f"cascade-{setting}": value for setting, value in FIRST_VALUES.items()},
    "temperature": 0.0,
    "top-p": 1.0,
    "top-k": 0,
    "repetition-penalty": 1.0,
    "seed": 0,
    "max-tokens": DEFAULT_MAX_TOKENS,
    "stop": [],
}


def session_id() -> str:
    """This browser session's id, as it is stored with its runs."""
    return cast(str, st.session_state.setdefault(_SESSION_ID, uuid.uuid4().hex))


def lane_title(lane: str) -> str:
    """What a lane is called on the page: "Lane A"."""
    return f"Lane {lane.upper()}"


def lane_key(lane: str, setting: str) -> str:
    """The key of a lane's widget, such as ``lane-a-model``."""
    return f"lane-{lane}-{setting}"


def gear_key(gear: GearKind) -> str:
    """The setting that turns a gear on, such as ``kv-cache``."""
    return gear.replace("_", "-")


def prepare_playground(prompt: str, price_per_hour: float) -> None:
    """Give the playground's widgets their first values; values already there stay.

    Lane A is the plain one, lane B the optimised one.
    """
    st.session_state.setdefault(PROMPT, prompt)
    st.session_state.setdefault(PRICE_PER_HOUR, price_per_hour)
    st.session_state.setdefault(SYSTEM, "")
    st.session_state.setdefault(lane_key(LANES[0], "backend"), Backend.REFERENCE)
    for lane in LANES:
        st.session_state.setdefault(lane_key(lane, "model"), DEFAULT_MODEL)
        for setting, value in _LANE_DEFAULTS.items():
            st.session_state.setdefault(lane_key(lane, setting), value)


def use_drafter(model: str, precision: Precision, speculation: SpeculationConfig) -> None:
    """Set the optimised lane to a model that another one drafts for."""
    values: dict[str, Any] = {
        "backend": Backend.LOCAL,
        "model": model,
        "quantization": precision is not Precision.BF16,
        **({} if precision is Precision.BF16 else {"precision": precision}),
        "speculation": True,
        "drafter": drafter_key(speculation),
        "gamma": speculation.gamma,
    }
    for setting, value in values.items():
        st.session_state[lane_key(LANES[1], setting)] = value


def lane_config(lane: str) -> RunConfig:
    """What a lane's widgets are set to. A gear that the backend does not have is off, whatever its toggle says.

    Raises:
        InvalidRequestError: a value is missing or out of range.
    """
    backend = Backend(_lane_value(lane, "backend"))
    on = {gear for gear in backend.info.gears if _lane_value(lane, gear_key(gear))}
    precision = _lane_value(lane, "precision") if GearKind.QUANTIZATION in on else Precision.BF16
    kept = GearKind.KV_CACHE in on
    cache_mode = CacheMode(_lane_value(lane, "cache-mode")) if kept else CacheMode.KV
    window = _lane_value(lane, "kv-window") if kept and cache_mode is not CacheMode.OFF else None
    in_int8 = kept and cache_mode is not CacheMode.OFF and _lane_value(lane, "kv-int8")
    return RunConfig(
        model=(_lane_value(lane, "model") or "").strip(),
        backend=backend,
        optimization=OptimizationConfig.at(
            Precision(precision),
            cache_mode,
            KVDtype.INT8 if in_int8 else KVDtype.BF16,
            window,
            drafter_of(_lane_value(lane, "drafter"), _lane_value(lane, "gamma"))
            if GearKind.SPECULATION in on
            else None,
            cascade_of(lambda setting: _lane_value(lane, f"cascade-{setting}")) if GearKind.CASCADE in on else None,
        ),
        sampling=lane_sampling(lane),
    )


def lane_sampling(lane: str) -> SamplingParams:
    """The sampling part of a lane's widgets.

    Raises:
        InvalidRequestError: a value is out of range.
    """
    return SamplingParams(
        temperature=_lane_value(lane, "temperature"),
        top_p=_lane_value(lane, "top-p"),
        top_k=_lane_value(lane, "top-k"),
        repetition_penalty=_lane_value(lane, "repetition-penalty"),
        seed=_lane_value(lane, "seed"),
        max_tokens=_lane_value(lane, "max-tokens"),
        stop=tuple(_lane_value(lane, "stop")),
    )


def lane_request(lane: str) -> GenerationRequest:
    """The prompt, to be answered as a lane is set.

    Raises:
        InvalidRequestError: the prompt is empty, or a setting is missing or out of range.
    """
    system = (st.session_state[SYSTEM] or "").strip()
    user = Message("user", st.session_state[PROMPT] or "")
    return GenerationRequest(
        messages=(Message("system", system), user) if system else (user,),
        config=lane_config(lane),
        cache_salt=session_id(),
        cold=not _lane_value(lane, "warm"),
    )


def race() -> Race | None:
    """The playground's last race, over or not."""
    return cast("Race | None", st.session_state.get(_RACE))


def start_race() -> None:
    """Line up the lanes as they are set. The next script run streams them.

    A refusal is remembered instead where the request cannot be made; the last race stays then.
    """
    st.session_state.pop(_REFUSAL, None)
    try:
        lanes = {lane: LaneRun(lane_request(lane)) for lane in LANES}
    except InvalidRequestError as error:
        st.session_state[_REFUSAL] = str(error)
        return
    st.session_state[_RACE] = Race(lanes)


def _lane_value(lane: str, setting: str) -> Any:
    return st.session_state[lane_key(lane, setting)]


def refusal() -> str | None:
    """Why the last race asked for could not start, for the user."""
    return cast("str | None", st.session_state.get(_REFUSAL))


def prompt_check() -> PromptCheck | None:
    """What the Quantization lab last did, or does, with a prompt of this session."""
    return cast("PromptCheck | None", st.session_state.get(_PROMPT_CHECK))


def set_prompt_check(checked: PromptCheck) -> None:
    """Remember it."""
    st.session_state[_PROMPT_CHECK] = checked


def drafted_prompt() -> DraftedPrompt | None:
    """What the Speculation lab last did, or does, with a prompt of this session."""
    return cast("DraftedPrompt | None", st.session_state.get(_DRAFTED_PROMPT))


def set_drafted_prompt(shown: DraftedPrompt) -> None:
    """Remember it."""
    st.session_state[_DRAFTED_PROMPT] = shown


def other_answers(jobs: Jobs) -> Computed[str]:
    """What other tiers of a cascade were heard to say in this session, by run and tier."""
    return cast("Computed[str]", st.session_state.setdefault(_OTHER_ANSWERS, Computed(jobs)))
