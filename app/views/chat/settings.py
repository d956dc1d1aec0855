"""What a conversation's next answer is asked for with: model, precision, gears, sampling, system prompt."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from app import units
from app.cascade.cascades import cascade_name, cascade_of, values_of
from app.session import state
from app.store import Conversation
from app.views.gears.cascade_gear import choose_cascade, show_order
from app.views.gears.gears import CASCADE, choose_kv_form
from app.views.gears.precisions import offered_precisions, precision_help
from engine.types import CacheMode, KVDtype, OptimizationConfig, Precision, RunConfig, SamplingParams

CACHE_MODES = {
    CacheMode.OFF: "nothing is kept, and every token computes the whole text again. The slowest: it shows why there "
    "are caches.",
    CacheMode.KV: "keys and values are kept within one answer; every turn reads the whole conversation anew.",
    CacheMode.PREFIX: "what was read and written in earlier turns is kept, and only what is new is computed.",
}
_DEFAULT = RunConfig(
    model=state.DEFAULT_MODEL,
    optimization=OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX),
    sampling=SamplingParams(max_tokens=state.DEFAULT_MAX_TOKENS),
)


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """What the widgets are set to."""

    config: RunConfig
    system: str

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON values, as the store gives it back."""
        tree: dict[str, Any] = json.loads(json.dumps(self.config.to_dict()))
        return tree


def chat_key(conversation: Conversation | None, setting: str) -> str:
    """The key of a setting's widget; each conversation has its own."""
    return f"chat-{setting}-{conversation.id if conversation else 'new'}"


def read_settings(conversation: Conversation | None) -> ChatSettings:
    """What this tab's widgets are set to. What has no widget, or was not drawn yet, is as the conversation has it.

    Raises:
        InvalidRequestError: a value is missing or out of range.
    """
    kept = RunConfig.from_dict(conversation.config) if conversation else _DEFAULT
    gears = kept.optimization

    def read(setting: str, first: Any) -> Any:
        return st.session_state.get(chat_key(conversation, setting), first)

    cascade = None
    if read("cascade", gears.cascade is not None):
        values = values_of(gears.cascade)
        cascade = cascade_of(lambda setting: read(f"cascade-{setting}", values[setting]))
    mode = CacheMode(read("cache-mode", gears.cache_mode) or gears.cache_mode)
    kept_at_all = mode is not CacheMode.OFF
    in_int8 = kept_at_all and read("kv-int8", gears.kv_dtype is KVDtype.INT8)
    window = read("kv-window", gears.window) if kept_at_all else None
    precision = Precision(read("precision", kept.precision) or kept.precision)
    sampling = replace(
        kept.sampling,
        temperature=read("temperature", kept.sampling.temperature),
        max_tokens=read("max-tokens", kept.sampling.max_tokens),
        repetition_penalty=read("repetition-penalty", kept.sampling.repetition_penalty),
    )
    return ChatSettings(
        RunConfig(
            model=read("model", kept.model) or "",
            optimization=OptimizationConfig.at(
                precision, mode, KVDtype.INT8 if in_int8 else KVDtype.BF16, window, cascade=cascade
            ),
            sampling=sampling,
        ),
        read("system", conversation.system if conversation else "") or "",
    )


def choose_settings(conversation: Conversation | None, installed: Sequence[str], *, disabled: bool) -> None:
    """The widgets; `read_settings` reads them."""
    kept = RunConfig.from_dict(conversation.config) if conversation else _DEFAULT

    def key(setting: str, first: object) -> str:
        name = chat_key(conversation, setting)
        st.session_state.setdefault(name, first)
        return name

    with st.popover("Settings", icon=":material/tune:", key=f"chat-settings-{conversation.id if conversation else ''}"):
        model_key, precision_key = key("model", kept.model), key("precision", kept.precision)
        model = st.selectbox(
            "Model",
            list(dict.fromkeys([*installed, st.session_state[model_key]])),
            key=model_key,
            disabled=disabled,
            help="Another model reads the whole conversation anew.",
            persist_state="session",
        )
        precision = st.segmented_control(
            "Precision",
            list(dict.fromkeys([*offered_precisions(), st.session_state[precision_key]])),
            key=precision_key,
            required=True,
            format_func=str,
            disabled=disabled,
            help=precision_help(),
            persist_state="session",
        )
        _choose_cascade(key, kept, model or "", Precision(precision or kept.precision), installed, disabled)
        mode = st.segmented_control(
            "Cache mode",
            list(CACHE_MODES),
            key=key("cache-mode", kept.optimization.cache_mode),
            required=True,
            format_func=str,
            disabled=disabled,
            help="\n".join(f"- **{mode}**: {text}" for mode, text in CACHE_MODES.items()),
            persist_state="session",
        )
        if mode != CacheMode.OFF:
            with st.container(horizontal=True, vertical_alignment="center"):
                choose_kv_form(
                    int8_key=key("kv-int8", kept.optimization.kv_dtype is KVDtype.INT8),
                    window_key=key("kv-window", kept.optimization.window),
                    disabled=disabled,
                )
        with st.container(horizontal=True):
            st.number_input(
                "Max tokens",
                min_value=1,
                max_value=32_768,
                step=16,
                key=key("max-tokens", kept.sampling.max_tokens),
                disabled=disabled,
                help="An answer ends here at the latest.",
                persist_state="session",
            )
            st.number_input(
                "Temperature",
                min_value=0.0,
                max_value=5.0,
                step=0.1,
                key=key("temperature", kept.sampling.temperature),
                disabled=disabled,
                help="0 always takes the likeliest token: answering again then gives the same answer.",
                persist_state="session",
            )
            st.number_input(
                "Repetition penalty",
                min_value=0.1,
                max_value=5.0,
                step=0.05,
                key=key("repetition-penalty", kept.sampling.repetition_penalty),
                disabled=disabled,
                help="Makes repeats less likely; 1 is off.",
                persist_state="session",
            )
        st.text_area(
            "System prompt",
            key=key("system", conversation.system if conversation else ""),
            height=90,
            disabled=disabled,
            placeholder="How the model should behave. Empty: the model's own default.",
            help="It stands before everything else, so a change makes the next turn read all of it anew.",
            persist_state="session",
        )


def _choose_cascade(
    key: Callable[[str, object], str],
    kept: RunConfig,
    model: str,
    precision: Precision,
    installed: Sequence[str],
    disabled: bool,
) -> None:
    gear = kept.optimization.cascade
    keys = {setting: key(f"cascade-{setting}", value) for setting, value in values_of(gear).items()}
    on = st.toggle(
        CASCADE.label,
        key=key("cascade", gear is not None),
        disabled=disabled,
        help=CASCADE.help,
        persist_state="session",
    )
    if on:
        choose_cascade(keys.__getitem__, model, precision, installed, disabled=disabled, in_conversation=True)
        show_order(keys.__getitem__, model, precision)


def settings_summary(config: RunConfig) -> str:
    """On one line: "smollm2-135m · int4 · cache mode prefix · KV int8 · window 256 tokens"."""
    gears = config.optimization
    who = [config.model, str(config.precision)]
    if gears.cascade:
        who = [cascade_name(gears.cascade, " ".join(who))]
    parts = [*who, f"cache mode {gears.cache_mode}"]
    parts += ["KV int8"] if gears.kv_dtype is KVDtype.INT8 else []
    parts += [f"window {units.counted(gears.window, 'token')}"] if gears.window else []
    return " · ".join(parts)
