"""What a session remembers of the Router lab: what is looked at, and each router's threshold."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

from app.router.study import Study
from engine.cascade import Curve

SECTION = "router-section"
DATA_SET, WEAK, STRONG, CHOICE = "router-data-set", "router-weak", "router-strong", "router-choice"
_NEXT = "router-data-set-next"
_SEEN = "router-threshold-seen"
_FIRST_SHARE = 0.4
HIGHEST = 1.0
"""The slider's end: past every score but those that go up whatever the threshold."""


def look_at(data_set_id: str) -> None:
    """Turn to a data set at the next script run."""
    st.session_state[_NEXT] = data_set_id


def prepare_data_set(ids: Collection[str]) -> None:
    """Turn to the data set asked for; to the first one where the one on view is gone."""
    wanted = st.session_state.pop(_NEXT, st.session_state.get(DATA_SET))
    st.session_state[DATA_SET] = wanted if wanted in ids else next(iter(ids))


def threshold_key(study: Study) -> str:
    """The key of a router's slider: each router between two tiers has its own threshold."""
    return f"router-threshold {study.weak} {study.strong} {study.choice}"


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
