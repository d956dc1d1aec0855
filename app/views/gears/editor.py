"""The editor of a configuration: model, backend, gears, sampling, over the values of a form."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from app.session import presets
from app.session.configuration import Form, gear_setting
from app.views.gears.cascade import choose_cascade
from app.views.gears.drafter import choose_drafter
from app.views.gears.kv_cache import choose_kv_cache
from app.views.gears.models import answering, choose_model
from app.views.gears.quantization import choose_quantization, show_no_quantization
from app.views.gears.sampling import SETTINGS, choose_sampling
from engine.types import Backend, GearKind, backends_with

_GEARS = {
    GearKind.QUANTIZATION: (
        "**Quantization**: fewer bits a weight, less to read",
        "Every token reads all weights once; smaller weights are read faster. It may change the answer.",
    ),
    GearKind.KV_CACHE: (
        "**KV caching**: read nothing twice",
        "The beginning that a prompt shares with an earlier one is not computed again. Off: keys and values are kept "
        "within a run, as in every engine.",
    ),
    GearKind.SPECULATION: (
        "**Speculation**: guess, check at once",
        "Several tokens are drafted cheaply and checked in one step of the model; the answer stays the same.",
    ),
    GearKind.CASCADE: (
        "**Cascade**: large model only if needed",
        "A smaller model answers first; the model above takes over where the small one is unsure.",
    ),
}
"""A gear's name and what it does, on one line; and at more length."""
_ON_SERVERS = {
    GearKind.QUANTIZATION: "How the server holds the weights is set where it runs, and cannot be seen from here.",
    GearKind.KV_CACHE: "Whether the server keeps KV across requests is set where it runs. Reused tokens are shown "
    "where it tells them.",
    GearKind.SPECULATION: "Whether the server drafts is set where it runs. Accepted tokens are shown where it tells "
    "them.",
}
"""Why a gear cannot be turned here for a server's model."""
_MODELS = "An installed model, or type a local folder or a hub id of a llama, mistral, qwen2 or qwen3 model."


def edit_lane(form: Form, installed: Sequence[str], *, warm_key: str, disabled: bool) -> None:
    """The configuration of one prompt's answer, any model and both backends among it.

    Args:
        form: the form.
        installed: models to choose from, which may also draft and try first.
        warm_key: of the toggle that lets the run reuse what earlier ones kept.
        disabled: nothing can be changed now.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        choose_model(form, answering(installed), typed=True, help=_MODELS, disabled=disabled)
        _choose_backend(form, disabled=disabled)
    _choose_gears(form, installed, warm_key=warm_key, in_conversation=False, disabled=disabled)
    with st.popover("Sampling", icon=":material/casino:", key=form.key("sampling")):
        choose_sampling(form, SETTINGS, disabled=disabled)


def edit_conversation(form: Form, installed: Sequence[str], *, disabled: bool) -> None:
    """The configuration of a conversation's answers: by this app's decoder, reusing whatever is kept.

    Arguments as for `edit_lane`.
    """
    choose_model(form, answering(installed), help="Another model reads the whole conversation anew.", disabled=disabled)
    _choose_gears(form, installed, warm_key=None, in_conversation=True, disabled=disabled)
    choose_sampling(form, ("max-tokens", "temperature", "repetition-penalty"), disabled=disabled)


def _choose_gears(
    form: Form, installed: Sequence[str], *, warm_key: str | None, in_conversation: bool, disabled: bool
) -> None:
    with st.container(gap="xxsmall"):
        if _toggle(form, GearKind.QUANTIZATION, disabled=disabled):
            choose_quantization(form, disabled=disabled)
        elif form.backend is not Backend.REMOTE:
            show_no_quantization(form)
        if _toggle(form, GearKind.KV_CACHE, disabled=disabled):
            choose_kv_cache(form, warm_key=warm_key, disabled=disabled)
        if _toggle(form, GearKind.SPECULATION, disabled=disabled):
            choose_drafter(form, installed, disabled=disabled)
        if _toggle_cascade(form, installed, disabled=disabled):
            choose_cascade(form, answering(installed), in_conversation=in_conversation, disabled=disabled)


def _choose_backend(form: Form, *, disabled: bool) -> None:
    """Who runs the model; a server's model is run by its server."""
    if form.backend is Backend.REMOTE:
        st.segmented_control(
            "Backend",
            [Backend.REMOTE],
            key=form.key("no-backend"),
            default=Backend.REMOTE,
            format_func=lambda backend: Backend(backend).info.label,
            disabled=True,
            help=Backend.REMOTE.info.help,
        )
        return
    here = [backend for backend in Backend if backend is not Backend.REMOTE]
    st.segmented_control(
        "Backend",
        here,
        key=form.widget("backend"),
        required=True,
        format_func=lambda backend: Backend(backend).info.label,
        disabled=disabled,
        help="\n\n".join(f"**{backend.info.label}**: {backend.info.help}" for backend in here),
        persist_state="session",
    )


def _toggle_cascade(form: Form, installed: Sequence[str], *, disabled: bool) -> bool:
    """The cascade's toggle. Turned on, it chooses two models; with one alone, it says what is missing."""
    alone = not set(answering(installed)) - {form.model} and not form.value(gear_setting(GearKind.CASCADE))
    need = "A cascade needs a second model. Install one, or add a server, on the Models page." if alone else ""

    def turned() -> None:
        presets.turn_on_cascade(form)

    return _toggle(form, GearKind.CASCADE, disabled=disabled or alone, need=need, on_change=turned)


def _toggle(
    form: Form,
    gear: GearKind,
    *,
    disabled: bool,
    need: str = "",
    on_change: Callable[[], None] | None = None,
) -> bool:
    """A gear's toggle; off where the backend does not have it. ``need`` says what else it lacks."""
    label, help = _GEARS[gear]
    backend, setting = form.backend, gear_setting(gear)
    if gear in backend.info.gears:
        return st.toggle(
            label,
            key=form.widget(setting),
            disabled=disabled,
            help=need or help,
            on_change=on_change,
            persist_state="session",
        )
    if backend is Backend.REMOTE:
        help = _ON_SERVERS[gear]
    else:
        able = " or ".join(each.info.label for each in backends_with(gear) if each is not Backend.REMOTE)
        help = f"The {backend} backend runs the model as it comes. Choose the {able} backend to use gears."
    return st.toggle(label, key=form.key(f"no-{setting}"), disabled=True, help=help)
