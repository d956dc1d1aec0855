"""The four gears as toggles."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import streamlit as st

from app import resources, units
from app.quantization.expectations import Expectation, expectations
from app.session import state
from app.views.gears.cascade_gear import choose_lane_cascade
from app.views.gears.drafter import choose_lane_drafter
from app.views.gears.precisions import offered_precisions, precision_help
from app.views.reports.alarm import Alarms, show_alarm
from engine.errors import GearboxError
from engine.types import MIN_WINDOW, SINK_TOKENS, Backend, CacheMode, GearKind, KVDtype, Precision, backends_with


@dataclass(frozen=True, slots=True)
class Gear:
    """A way to make answers cheaper."""

    kind: GearKind
    label: str
    """Its name and what it does, on one line."""
    help: str


QUANTIZATION = Gear(
    GearKind.QUANTIZATION,
    "**Quantization**: fewer bits a weight, less to read",
    "Every token reads all weights once; smaller weights are read faster. It may change the answer.",
)
KV_CACHE = Gear(
    GearKind.KV_CACHE,
    "**KV caching**: read nothing twice",
    "The beginning that a prompt shares with an earlier one is not computed again. Off: keys and values are kept "
    "within a run, as in every engine.",
)
SPECULATION = Gear(
    GearKind.SPECULATION,
    "**Speculation**: guess, check at once",
    "Several tokens are drafted cheaply and checked in one step of the model; the answer stays the same.",
)
CACHE_MODES = {
    CacheMode.PREFIX: "across runs",
    CacheMode.KV: "within a run",
    CacheMode.OFF: "none at all",
}
CASCADE = Gear(
    GearKind.CASCADE,
    "**Cascade**: large model only if needed",
    "A smaller model answers first; the model above takes over where the small one is unsure.",
)

_REFRESH_EVERY = "1s"


def choose_gears(lane: str, installed: Sequence[str], *, disabled: bool) -> None:
    """A lane's toggles. Installed models may draft, and try first. Those that the backend does not have are off."""
    with st.container(gap="xxsmall"):
        _choose_quantization(lane, disabled=disabled)
        _choose_kv_cache(lane, disabled=disabled)
        if _gear_toggle(SPECULATION, lane, disabled=disabled):
            choose_lane_drafter(lane, installed, disabled=disabled)
        if _gear_toggle(CASCADE, lane, disabled=disabled):
            choose_lane_cascade(lane, installed, disabled=disabled)


def _gear_toggle(gear: Gear, lane: str, *, disabled: bool) -> bool:
    """A gear's toggle; off where the lane's backend does not have it."""
    backend, key = Backend(st.session_state[state.lane_key(lane, "backend")]), state.gear_key(gear.kind)
    if gear.kind in backend.info.gears:
        return st.toggle(
            gear.label,
            key=state.lane_key(lane, key),
            disabled=disabled,
            help=gear.help,
            persist_state="session",
        )
    able = " or ".join(each.info.label for each in backends_with(gear.kind))
    return st.toggle(
        gear.label,
        key=state.lane_key(lane, f"no-{key}"),
        disabled=True,
        help=f"The {backend} backend runs the model as it comes. Choose the {able} backend to use gears.",
    )


def _choose_quantization(lane: str, *, disabled: bool) -> None:
    on = _gear_toggle(QUANTIZATION, lane, disabled=disabled)
    if on:
        st.segmented_control(
            "Precision",
            [precision for precision in offered_precisions() if precision is not Precision.BF16],
            key=state.lane_key(lane, "precision"),
            required=True,
            format_func=str,
            disabled=disabled,
            help=precision_help(),
            persist_state="session",
        )
        _show_expectations(lane, disabled=disabled)
    else:
        st.segmented_control(
            "Precision",
            offered_precisions(),
            key=state.lane_key(lane, "no-precision"),
            default=Precision.BF16,
            format_func=str,
            disabled=True,
            help=precision_help(),
        )


def _choose_kv_cache(lane: str, *, disabled: bool) -> None:
    if not _gear_toggle(KV_CACHE, lane, disabled=disabled):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        mode = st.segmented_control(
            "Keys and values",
            list(CACHE_MODES),
            key=state.lane_key(lane, "cache-mode"),
            required=True,
            format_func=CACHE_MODES.__getitem__,
            disabled=disabled,
            help="**Across runs**: what a prompt shares with an earlier one of this session is reused.\n\n"
            "**Within a run**: as in every engine; in 16 bits the same as this gear off.\n\n"
            "**None at all**: every token computes the whole text again, the way the idea is taught. Slow.",
            persist_state="session",
        )
        if mode != CacheMode.OFF:
            choose_kv_form(
                int8_key=state.lane_key(lane, "kv-int8"),
                window_key=state.lane_key(lane, "kv-window"),
                disabled=disabled,
            )
        if mode == CacheMode.PREFIX:
            st.toggle(
                "Start warm",
                key=state.lane_key(lane, "warm"),
                disabled=disabled,
                help="Reuse what earlier runs kept. Off: the run computes its whole prompt, so that asking twice "
                "fakes no gain.",
                persist_state="session",
            )


def choose_kv_form(*, int8_key: str, window_key: str, disabled: bool) -> tuple[KVDtype, int | None]:
    """How keys and values are kept, and how many tokens' of them; both may change the answer.

    Args:
        int8_key, window_key: the widgets' keys, which have their first values.
        disabled: nothing can be changed now.
    """
    in_int8 = st.toggle(
        "8 bits, lossy",
        key=int8_key,
        disabled=disabled,
        help="Keys and values in 8 bits, one scale for each token and head: about half their memory. It may change "
        "the answer.",
        persist_state="session",
    )
    window = st.number_input(
        "Sliding window, tokens, lossy",
        min_value=MIN_WINDOW,
        max_value=131_072,
        step=64,
        value=None,
        placeholder="Off",
        key=window_key,
        disabled=disabled,
        help=f"Only so many tokens are kept, the first {SINK_TOKENS} among them. A text may then be longer than the "
        "model's context; what has left is forgotten.",
        persist_state="session",
    )
    return KVDtype.INT8 if in_int8 else KVDtype.BF16, window


def _show_expectations(lane: str, *, disabled: bool) -> None:
    """What each precision takes and gives, and the alarm of the one chosen.

    Drawn again by itself until the estimates are there. A run database that cannot be read is told of elsewhere.
    """
    model = st.session_state[state.lane_key(lane, "model")]
    if not model:
        return
    with suppress(GearboxError):
        chosen = st.session_state[state.lane_key(lane, "precision")]
        store, estimates = resources.get_store(), resources.get_estimates()
        show_alarm(Alarms.read(store.lab).of_model(model, st.session_state[state.lane_key(lane, "backend")], chosen))

        def draw() -> None:
            with suppress(GearboxError):
                device = resources.get_engine().status().device
                offered = tuple(map(str, offered_precisions()))
                estimated = estimates.of(model)
                known = expectations(store, model, offered, estimated or {}, device)
                # the table stands from the start, so that nothing below it moves under a pointer
                if estimated is None or any(item.weights_bytes for item in known):
                    st.caption(expectations_table(known, chosen))

        st.fragment(draw, run_every=_REFRESH_EVERY if estimates.of(model) is None and not disabled else None)()


def expectations_table(known: Sequence[Expectation], chosen: str) -> str:
    """The precisions with their memory and speed as a table in Markdown, the one chosen in bold."""
    lines = ["| | Weights | Decode |", "|---|---|---|"]
    for item in known:
        name = f"**{item.precision}**" if item.precision == chosen else item.precision
        weights = units.memory(item.weights_bytes)
        if item.weights_bytes:
            weights += ", measured" if item.weights_measured else ", estimated"
        rate = f"{units.rate(item.tokens_per_second)}, measured" if item.tokens_per_second else "not measured yet"
        lines.append(f"| {name} | {weights} | {rate} |")
    return "\n".join(lines)
