"""What a session remembers of the Router lab: what is looked at, and each router's threshold."""

from __future__ import annotations

import streamlit as st

from app.router.study import Study
from app.session.options import ChosenOption
from engine.cascade import Curve

DATA_SET = ChosenOption("router-data-set")
WEAK, STRONG = ChosenOption("router-weak"), ChosenOption("router-strong")
PROMPTS = ChosenOption("router-prompts")
"""What is recorded next."""
CHOICE = "router-choice"
"""Of the router between two tiers."""
THRESHOLD = "router-threshold "
"""Begins the keys of the sliders."""
PROFILE = ChosenOption("router-profile")
COMPARED = ChosenOption("router-drift-data")
"""Whose scores are looked at for drift."""
HIGHEST = 1.0
"""The threshold slider's end: past every score but those that go up whatever the threshold."""

_SEEN = "router-threshold-seen"
_FIRST_SHARE = 0.4


def threshold_key(study: Study) -> str:
    """The key of a router's slider: each router between two tiers has its own threshold."""
    return f"{THRESHOLD}{study.weak} {study.strong} {study.choice}"


def prepare_threshold(study: Study) -> None:
    """Give a router its first threshold, which sends two prompts of five up or as close to that as it can."""
    if threshold_key(study) in st.session_state:
        return
    curve = Curve.of(study.data)
    at = int(abs(curve.share - _FIRST_SHARE).argmin())
    set_threshold(study, float(curve.thresholds[at]))


def threshold(study: Study) -> float:
    """The threshold that a router is set to, 0 to 1."""
    prepare_threshold(study)
    return float(st.session_state[threshold_key(study)])


def set_threshold(study: Study, value: float) -> None:
    """Set it; :data:`~engine.types.NEVER` becomes the slider's end."""
    st.session_state[threshold_key(study)] = min(value, HIGHEST)


def threshold_before(study: Study) -> float:
    """What the threshold was when the prompts that changed sides were last shown."""
    seen: dict[str, float] = st.session_state.setdefault(_SEEN, {})
    return seen.get(threshold_key(study), threshold(study))


def threshold_seen(study: Study) -> None:
    """Remember the threshold as shown."""
    st.session_state.setdefault(_SEEN, {})[threshold_key(study)] = threshold(study)
