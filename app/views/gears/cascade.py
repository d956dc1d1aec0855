"""Which smaller models try first, and what decides between them: the widgets of the cascading gear."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import streamlit as st

from app import resources
from app.cascade.cascades import JUDGING, OFFERED, profile_fits, profile_name
from app.cascade.words import router_words, threshold_meaning
from app.literal import literal
from app.router.operation.in_use import profile_text
from app.session import presets
from app.session.configuration import PLACES, Form, cascade_of
from app.views.gears.precisions import offered_precisions, precision_help
from engine.cascade import RouterProfile
from engine.errors import GearboxError
from engine.types import RouterKind, is_remote

_FIRST_HELP = "Asked first. The model above is asked where this one's answer is not kept."
_SECOND_HELP = "Asked where the first one's answer is not kept, before the model above."


def choose_cascade(form: Form, installed: Sequence[str], *, in_conversation: bool, disabled: bool) -> None:
    """The smaller tiers and the router.

    Args:
        form: the form, whose model is the largest tier.
        installed: models to choose from.
        in_conversation: turns follow each other, so that a tier can be kept.
        disabled: nothing can be changed now.
    """
    for place, label, help_text in zip(PLACES, ("First", "Second"), (_FIRST_HELP, _SECOND_HELP), strict=True):
        _choose_tier(form, place, label, help_text, installed, disabled=disabled)
    if not _choose_profile(form, disabled=disabled):
        _choose_router(form, disabled=disabled)
    st.toggle(
        "Step aside where it does not pay",
        key=form.widget("cascade-guard"),
        disabled=disabled,
        help="Prompts go straight to the model above while trying a smaller one costs more time than it saves; now and "
        "then one is tried again. It learns from all prompts asked with these settings since the app started, so who "
        "answers depends on the prompts before. Rounds of one race are not led by it. Nor are routers that look at "
        "nothing: random, always small and always large.",
        persist_state="session",
    )
    if in_conversation:
        st.toggle(
            "Keep the tier",
            key=form.widget("cascade-keep-tier"),
            disabled=disabled,
            help="Later turns go straight to the tier that answered the last one: its cache holds the conversation. "
            "Off: each turn is judged anew, and a change of tier reads all of it again.",
            persist_state="session",
        )
    _show_order(form)


def _show_order(form: Form) -> None:
    """A word on tiers in a wrong order, as soon as their sizes are known. What cannot run is told of elsewhere."""
    with suppress(GearboxError):
        largest = form.tier
        ladder = (*cascade_of(form.values()).smaller, largest)
        if largest in ladder[:-1]:
            st.caption(f":red[{literal(str(largest))} is the model above: choose a larger one there.]")
            return
        estimates = resources.get_estimates()
        sizes = [None if tier.is_remote else (estimates.of(tier.model) or {}).get(tier.precision) for tier in ladder]
        for (lower, its), (upper, theirs) in pairwise(zip(ladder, sizes, strict=True)):
            if its and theirs and its >= theirs:
                st.caption(
                    f":orange[{literal(str(lower))} takes no less memory than {literal(str(upper))}, which is asked "
                    "after it.]"
                )


def _choose_tier(
    form: Form, place: str, label: str, help_text: str, installed: Sequence[str], *, disabled: bool
) -> None:
    model_key, precision_key = form.widget(f"cascade-{place}-model"), form.widget(f"cascade-{place}-precision")
    model, precision = form.value(f"cascade-{place}-model"), form.value(f"cascade-{place}-precision")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            label,
            list(dict.fromkeys([*installed, *([model] if model else [])])),
            index=0 if place == PLACES[0] else None,
            key=model_key,
            placeholder="None",
            disabled=disabled,
            help=help_text,
            persist_state="session",
        )
        if chosen and not is_remote(chosen):
            st.selectbox(
                "Precision",
                list(dict.fromkeys([*offered_precisions(), precision])),
                key=precision_key,
                format_func=str,
                width=110,
                disabled=disabled,
                help=precision_help(),
                persist_state="session",
            )


def _choose_profile(form: Form, *, disabled: bool) -> str | None:
    """A calibrated router among those that the Router lab has in use; the one chosen, as JSON. Choosing one sets the
    tiers it was made for, and changing a tier leaves it."""
    chosen = form.value("cascade-profile")
    if chosen and not _fits(form, chosen):
        form.set({"cascade-profile": None})
        chosen = None
    offered = list(dict.fromkeys([*_profiles_in_use(), *([chosen] if chosen else [])]))
    if not offered:
        return None

    def take() -> None:
        if text := form.value("cascade-profile"):
            presets.go_by(form, RouterProfile.from_dict(json.loads(text)))

    picked: str | None = st.selectbox(
        "Profile",
        offered,
        index=None,
        key=form.widget("cascade-profile"),
        format_func=_profile_title,
        placeholder="None: set by hand",
        disabled=disabled,
        on_change=take,
        help="A router that the Router lab has in use. It brings its tiers and its thresholds along.",
        persist_state="session",
    )
    return picked


def _profile_title(text: str) -> str:
    ladder = json.loads(text)["ladder"]
    return f"{profile_name(text)} · {' → '.join('{model} {precision}'.format(**tier) for tier in ladder)}"


def _fits(form: Form, text: str) -> bool:
    """Whether a profile was made for the tiers that a form is set to."""
    try:
        ladder = cascade_of({**form.values(), "cascade-profile": None})
    except GearboxError:  # a cascade that cannot run says why in its summary
        return False
    return profile_fits(RouterProfile.from_dict(json.loads(text)), ladder, form.tier)


def _profiles_in_use() -> list[str]:
    try:
        kept = resources.get_store().router.profiles()
    except GearboxError:  # told of elsewhere: no database
        return []
    return [profile_text(each.profile) for each in kept if each.active]


def _choose_router(form: Form, *, disabled: bool) -> None:
    router = st.segmented_control(
        "Router",
        list(OFFERED),
        key=form.widget("cascade-router"),
        required=True,
        format_func=lambda kind: router_words(RouterKind(kind))[0],
        disabled=disabled,
        help="\n".join("- **{}**: {}".format(*router_words(kind)) for kind in OFFERED)
        + "\n\nA hybrid of the first two needs a profile of the Router lab.",
        persist_state="session",
    )
    if router == RouterKind.ESCALATE:
        st.number_input(
            "Judge after the first tokens",
            min_value=1,
            max_value=32_768,
            step=8,
            value=None,
            placeholder="All of the answer",
            key=form.widget("cascade-after-tokens"),
            disabled=disabled,
            help="Less is written in vain, and less is known. Empty: the whole answer is judged.",
            persist_state="session",
        )
    if router not in JUDGING:
        return
    after_tokens = form.value("cascade-after-tokens")
    for place in PLACES:
        model = form.value(f"cascade-{place}-model")
        if not model:
            continue
        threshold = st.slider(
            f"Threshold of {literal(model)}",
            0.0,
            1.0,
            step=0.01,
            key=form.widget(f"cascade-{place}-threshold"),
            disabled=disabled,
            help="The score says how much the larger model is needed, 0 to 1. From the threshold up it is asked: a low "
            "threshold asks it often. Of an answer, the score is 1 − the geometric mean of its tokens' "
            "probabilities; of a prompt, 1 − exp(−entropy of the first token).",
            persist_state="session",
        )
        st.caption(threshold_meaning(RouterKind(router), threshold, after_tokens))
