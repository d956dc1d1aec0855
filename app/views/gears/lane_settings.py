"""What a lane of the playground is set to: model, backend, gears, sampling."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.literal import literal
from app.session import state
from app.units import counted
from app.views.gears.gears import choose_gears
from app.views.runs.naming import configuration_name
from engine.errors import InvalidRequestError
from engine.types import Backend, SamplingParams

_STOPS = {"\n": "line break", "\n\n": "blank line"}


def choose_settings(lane: str, installed: Sequence[str], *, disabled: bool) -> None:
    """A lane's widgets; `state.lane_config` reads them."""

    def key(setting: str) -> str:
        return state.lane_key(lane, setting)

    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Model",
            _options(installed, st.session_state[key("model")]),
            key=key("model"),
            accept_new_options=True,
            disabled=disabled,
            placeholder="Choose a model, or type a folder or hub id",
            help="An installed model, or type a local folder or a hub id of a llama, mistral, qwen2 or qwen3 model.",
            persist_state="session",
        )
        st.segmented_control(
            "Backend",
            list(Backend),
            key=key("backend"),
            required=True,
            format_func=lambda backend: Backend(backend).info.label,
            disabled=disabled,
            help="\n\n".join(f"**{backend.info.label}**: {backend.info.help}" for backend in Backend),
            persist_state="session",
        )
    choose_gears(lane, installed, disabled=disabled)
    with st.popover("Sampling", icon=":material/casino:", key=key("sampling")):
        _choose_sampling(lane, disabled=disabled)


def show_summary(lane: str) -> None:
    """A lane's settings on one line, or what is wrong with them."""
    try:
        config = state.lane_config(lane)
    except InvalidRequestError as error:
        st.caption(f":red[{literal(str(error))}]")
        return
    name = configuration_name(config.model, config.backend, config.precision, config.optimization)
    st.caption(f"{literal(name)} · {_sampling_summary(config.sampling)}")


def _choose_sampling(lane: str, *, disabled: bool) -> None:
    def number(setting: str, label: str, low: float, high: float, step: float, help_text: str) -> None:
        st.number_input(
            label,
            min_value=low,
            max_value=high,
            step=step,
            key=state.lane_key(lane, setting),
            disabled=disabled,
            help=help_text,
            persist_state="session",
        )

    with st.grid(2, min_column_width=110):
        number("temperature", "Temperature", 0.0, 5.0, 0.1, "0 always takes the likeliest token (greedy).")
        number("max-tokens", "Max tokens", 1, 32_768, 16, "The answer ends here at the latest.")
        number("top-p", "Top-p", 0.01, 1.0, 0.05, "Keep the likeliest tokens up to this share; 1 keeps all.")
        number("top-k", "Top-k", 0, 1_000, 10, "Keep the k likeliest tokens; 0 keeps all.")
        number("repetition-penalty", "Repetition penalty", 0.1, 5.0, 0.05, "Makes repeats less likely; 1 is off.")
        number("seed", "Seed", 0, 2**53 - 1, 1, "The same seed draws the same answer again.")
    st.multiselect(
        "Stop strings",
        [*_STOPS, *(text for text in st.session_state[state.lane_key(lane, "stop")] if text not in _STOPS)],
        key=state.lane_key(lane, "stop"),
        format_func=lambda text: _STOPS.get(text, text),
        accept_new_options=True,
        disabled=disabled,
        placeholder="None. Type one and press Enter",
        help="The answer ends before the first of these.",
        persist_state="session",
    )


def _sampling_summary(sampling: SamplingParams) -> str:
    parts = [f"temperature {sampling.temperature:g}" if sampling.temperature else "greedy"]
    parts.append(f"at most {counted(sampling.max_tokens, 'token')}")
    if sampling.temperature:
        parts.append(f"seed {sampling.seed}")
        parts += [f"top-p {sampling.top_p:g}"] if sampling.top_p < 1 else []
        parts += [f"top-k {sampling.top_k}"] if sampling.top_k else []
    if sampling.repetition_penalty != 1:
        parts.append(f"repetition penalty {sampling.repetition_penalty:g}")
    if sampling.stop:
        parts.append("stop strings set")
    return " · ".join(parts)


def _options(installed: Sequence[str], chosen: str | None) -> list[str]:
    return [*installed, *([chosen] if chosen and chosen not in installed else [])]
