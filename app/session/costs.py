"""What a session's thresholds are chosen for: times as recorded, of another machine, or prices."""

from __future__ import annotations

import streamlit as st

from engine.cascade import Costs

_COSTS = "router-costs"


def costs() -> Costs | None:
    """What costs are derived from; ``None`` for times as recorded."""
    kept = st.session_state.get(_COSTS)
    return kept if isinstance(kept, Costs) else None


def set_costs(chosen: Costs | None) -> None:
    """Derive costs from this; ``None`` for times as recorded."""
    st.session_state[_COSTS] = chosen
