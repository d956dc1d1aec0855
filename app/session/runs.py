"""What a session remembers of runs that are over: what other tiers of their cascades said."""

from __future__ import annotations

from typing import cast

import streamlit as st

from app.background.computed import Computed
from app.background.jobs import Jobs

_OTHER_ANSWERS = "cascade-other-answers"


def other_answers(jobs: Jobs) -> Computed[str]:
    """What other tiers of a cascade were heard to say in this session, by run and tier."""
    return cast("Computed[str]", st.session_state.setdefault(_OTHER_ANSWERS, Computed(jobs)))
