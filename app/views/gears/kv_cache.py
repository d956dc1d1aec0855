"""What is kept of keys and values: the widgets of the KV caching gear."""

from __future__ import annotations

import streamlit as st

from app.session.configuration import Form
from engine.types import MIN_WINDOW, SINK_TOKENS, CacheMode

_MODES = {
    CacheMode.PREFIX: "across runs",
    CacheMode.KV: "within a run",
    CacheMode.OFF: "none at all",
}


def choose_kv_cache(form: Form, *, warm_key: str | None, disabled: bool) -> None:
    """For how long they are kept, in what form, how many tokens' of them.

    Args:
        form: the form.
        warm_key: of the toggle that lets a run reuse what earlier ones kept; ``None`` where it always may.
        disabled: nothing can be changed now.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        mode = st.segmented_control(
            "Keys and values",
            list(_MODES),
            key=form.widget("cache-mode"),
            required=True,
            format_func=_MODES.__getitem__,
            disabled=disabled,
            help="**Across runs**: what a prompt shares with an earlier one of yours, such as the turns before "
            "it, is reused.\n\n"
            "**Within a run**: as in every engine; in 16 bits the same as this gear off.\n\n"
            "**None at all**: every token computes the whole text again, the way the idea is taught. Slow.",
            persist_state="session",
        )
        if mode != CacheMode.OFF:
            _choose_form(form, disabled=disabled)
        if mode == CacheMode.PREFIX and warm_key:
            st.toggle(
                "Start warm",
                key=warm_key,
                disabled=disabled,
                help="Reuse what earlier runs kept. Off: the run computes its whole prompt, so that asking twice "
                "fakes no gain.",
                persist_state="session",
            )


def _choose_form(form: Form, *, disabled: bool) -> None:
    """What is lossy, and saves memory."""
    st.toggle(
        "8 bits, lossy",
        key=form.widget("kv-int8"),
        disabled=disabled,
        help="Keys and values in 8 bits, one scale for each token and head: about half their memory. It may change "
        "the answer.",
        persist_state="session",
    )
    st.number_input(
        "Sliding window, tokens, lossy",
        min_value=MIN_WINDOW,
        max_value=131_072,
        step=64,
        value=None,
        placeholder="Off",
        key=form.widget("kv-window"),
        disabled=disabled,
        help=f"Only so many tokens are kept, the first {SINK_TOKENS} among them. A text may then be longer than the "
        "model's context; what has left is forgotten.",
        persist_state="session",
    )
