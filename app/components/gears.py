"""The four gears as toggles."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app import state
from engine.types import Backend, Precision


@dataclass(frozen=True, slots=True)
class Gear:
    """A way to make answers cheaper."""

    key: str
    label: str
    """Its name and what it does, on one line."""
    help: str


QUANTIZATION = Gear(
    "quantization",
    "**Quantization**: weights in 4 bits, less to read",
    "Every token reads all weights once; smaller weights are read faster. It may change the answer.",
)
PLANNED = (
    Gear(
        "cascade",
        "**Cascade**: large model only if needed",
        "A small model answers first; a larger one takes over where the small one is unsure.",
    ),
    Gear(
        "kv-cache",
        "**KV caching**: read nothing twice",
        "The beginning that a prompt shares with an earlier one is not computed again.",
    ),
    Gear(
        "speculation",
        "**Speculation**: guess, check at once",
        "Several tokens are guessed cheaply and checked in one step of the model; the answer stays the same.",
    ),
)

_PRECISIONS = {
    Precision.INT4: "Integers in groups of 32, each with its scale and zero; the head in 8 bits.",
    Precision.NF4: "4-bit normal-float by bitsandbytes. Costs the smallest model more quality than int4.",
    Precision.BF16: "16 bits: no saving. For the catalogue's models, the published 5- to 6-bit file written out.",
}
_PRECISION_HELP = "\n".join(f"- **{precision}**: {text}" for precision, text in _PRECISIONS.items())


def choose_gears(lane: str, *, disabled: bool) -> None:
    """A lane's toggles. The reference backend runs without gears, so its toggles are off."""
    with st.container(gap="xxsmall"):
        _choose_quantization(lane, disabled=disabled)
        for gear in PLANNED:
            st.toggle(
                f"{gear.label} :gray-badge[not available yet]",
                key=state.lane_key(lane, gear.key),
                disabled=True,
                help=gear.help,
            )


def _choose_quantization(lane: str, *, disabled: bool) -> None:
    if st.session_state[state.lane_key(lane, "backend")] == Backend.LOCAL:
        on = st.toggle(
            QUANTIZATION.label,
            key=state.lane_key(lane, "quantization"),
            disabled=disabled,
            help=QUANTIZATION.help,
            persist_state="session",
        )
    else:
        on = st.toggle(
            QUANTIZATION.label,
            key=state.lane_key(lane, "no-quantization"),
            disabled=True,
            help="The reference backend runs the model as it comes. Choose the Gearbox backend to use gears.",
        )
    if on:
        st.segmented_control(
            "Precision",
            [precision for precision in _PRECISIONS if precision is not Precision.BF16],
            key=state.lane_key(lane, "precision"),
            required=True,
            format_func=str,
            disabled=disabled,
            help=_PRECISION_HELP,
            persist_state="session",
        )
    else:
        st.segmented_control(
            "Precision",
            list(_PRECISIONS),
            key=state.lane_key(lane, "no-precision"),
            default=Precision.BF16,
            format_func=str,
            disabled=True,
            help=_PRECISION_HELP,
        )
