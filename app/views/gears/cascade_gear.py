"""Which smaller models try first, and what decides between them: the widgets of the cascading gear."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise

import streamlit as st

from app import resources
from app.cascade.cascades import JUDGING, PLACES, ROUTERS, cascade_of, profile_fits, profile_name
from app.cascade.words import threshold_meaning
from app.literal import literal
from app.session import state
from app.views.gears.precisions import offered_precisions, precision_help
from engine.errors import GearboxError
from engine.types import Precision, RouterKind, Tier

_ROUTERS = {
    RouterKind.ESCALATE: (
        "Escalate",
        "The smaller model answers, which is judged by its token probabilities.",
    ),
    RouterKind.ROUTE: ("Route", "The prompt is judged before anything is written, by the first token's entropy."),
    RouterKind.RANDOM: ("Random", "By lot: what every router must beat."),
    RouterKind.ALWAYS_SMALL: ("Always small", "The smallest model answers everything."),
    RouterKind.ALWAYS_LARGE: ("Always large", "The model above answers everything."),
}
_FIRST_HELP = "Asked first. The model above is asked where this one's answer is not kept."
_SECOND_HELP = "Asked where the first one's answer is not kept, before the model above."


def choose_lane_cascade(lane: str, installed: Sequence[str], *, disabled: bool) -> None:
    """The cascade of a lane. It has one turn to answer, so there is no tier to keep."""

    def key(setting: str) -> str:
        return state.lane_key(lane, f"cascade-{setting}")

    settings = (state.lane_key(lane, setting) for setting in ("model", "precision", "quantization"))
    model, precision, quantized = (st.session_state[name] for name in settings)
    precision = Precision(precision) if quantized else Precision.BF16
    choose_cascade(key, (model or "").strip(), precision, installed, disabled=disabled)
    show_order(key, (model or "").strip(), precision)


def show_order(key: Callable[[str], str], model: str, precision: Precision) -> None:
    """A word on tiers in a wrong order, as soon as their sizes are known. What cannot run is told of elsewhere."""
    if not model:
        return
    with suppress(GearboxError):
        largest = Tier(model=model, precision=precision)
        ladder = (*cascade_of(lambda setting: st.session_state[key(setting)]).smaller, largest)
        if largest in ladder[:-1]:
            st.caption(f":red[{literal(str(largest))} is the model above: choose a larger one there.]")
            return
        estimates = resources.get_estimates()
        sizes = [(estimates.of(tier.model) or {}).get(tier.precision) for tier in ladder]
        for (lower, its), (upper, theirs) in pairwise(zip(ladder, sizes, strict=True)):
            if its and theirs and its >= theirs:
                st.caption(
                    f":orange[{literal(str(lower))} takes no less memory than {literal(str(upper))}, which is asked "
                    "after it.]"
                )


def choose_cascade(
    key: Callable[[str], str],
    model: str,
    precision: Precision,
    installed: Sequence[str],
    *,
    disabled: bool,
    in_conversation: bool = False,
) -> None:
    """The widgets; `cascade_of` reads them.

    Args:
        key: the widget's key of a setting of `cascades.FIRST_VALUES`. All keys have their first values.
        model: the largest tier's.
        precision: of it.
        installed: models to choose from.
        disabled: nothing can be changed now.
        in_conversation: turns follow each other, so that a tier can be kept.
    """
    for place, label, help_text in zip(PLACES, ("First", "Second"), (_FIRST_HELP, _SECOND_HELP), strict=True):
        _choose_tier(key, place, label, help_text, installed, disabled=disabled)
    profile = _choose_profile(key, model, precision, disabled=disabled)
    if profile is None:
        _choose_router(key, disabled=disabled)
    if in_conversation:
        st.toggle(
            "Keep the tier",
            key=key("keep-tier"),
            disabled=disabled,
            help="Later turns go straight to the tier that answered the last one: its cache holds the conversation. "
            "Off: each turn is judged anew, and a change of tier reads all of it again.",
            persist_state="session",
        )


def _choose_tier(
    key: Callable[[str], str], place: str, label: str, help_text: str, installed: Sequence[str], *, disabled: bool
) -> None:
    chosen = st.session_state[key(f"{place}-model")]
    first = place == PLACES[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        model = st.selectbox(
            label,
            list(dict.fromkeys([*installed, *([chosen] if chosen else [])])),
            index=0 if first else None,
            key=key(f"{place}-model"),
            placeholder="None",
            disabled=disabled,
            help=help_text,
            persist_state="session",
        )
        if model:
            st.selectbox(
                "Precision",
                list(dict.fromkeys([*offered_precisions(), st.session_state[key(f"{place}-precision")]])),
                key=key(f"{place}-precision"),
                format_func=str,
                width=110,
                disabled=disabled,
                help=precision_help(),
                persist_state="session",
            )


def _choose_profile(key: Callable[[str], str], model: str, precision: Precision, *, disabled: bool) -> str | None:
    """A calibrated router, where the Router lab has one in use for these very tiers; the one chosen, as JSON."""
    name = key("profile")
    fitting = _profiles_in_use(key, model, precision)
    if st.session_state[name] not in fitting:
        st.session_state[name] = None
    if not fitting:
        return None
    chosen: str | None = st.selectbox(
        "Profile",
        fitting,
        index=None,
        key=name,
        format_func=profile_name,
        placeholder="None: set by hand",
        disabled=disabled,
        help="A router in use for this ladder, saved in the Router lab. It brings its thresholds along.",
        persist_state="session",
    )
    return chosen


def _profiles_in_use(key: Callable[[str], str], model: str, precision: Precision) -> list[str]:
    try:
        ladder = cascade_of(lambda setting: None if setting == "profile" else st.session_state[key(setting)])
        kept = resources.get_store().router.profiles()
    except GearboxError:  # a lane that cannot run says why in its summary
        return []
    if not model:
        return []
    largest = Tier(model=model, precision=precision)
    profiles = (each.profile for each in kept if each.active)
    return [
        json.dumps(profile.to_dict(), sort_keys=True) for profile in profiles if profile_fits(profile, ladder, largest)
    ]


def _choose_router(key: Callable[[str], str], *, disabled: bool) -> None:
    router = st.segmented_control(
        "Router",
        list(ROUTERS),
        key=key("router"),
        required=True,
        format_func=lambda kind: _ROUTERS[kind][0],
        disabled=disabled,
        help="\n".join(f"- **{label}**: {text}" for label, text in _ROUTERS.values())
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
            key=key("after-tokens"),
            disabled=disabled,
            help="Less is written in vain, and less is known. Empty: the whole answer is judged.",
            persist_state="session",
        )
    if router not in JUDGING:
        return
    after_tokens = st.session_state[key("after-tokens")]
    for place in PLACES:
        model = st.session_state[key(f"{place}-model")]
        if not model:
            continue
        threshold = st.slider(
            f"Threshold of {literal(model)}",
            0.0,
            1.0,
            step=0.01,
            key=key(f"{place}-threshold"),
            disabled=disabled,
            help="The score says how much the larger model is needed, 0 to 1. From the threshold up it is asked: a low "
            "threshold asks it often. Of an answer, the score is 1 − the geometric mean of its tokens' "
            "probabilities; of a prompt, 1 − exp(−entropy of the first token).",
            persist_state="session",
        )
        st.caption(threshold_meaning(RouterKind(router), threshold, after_tokens))
