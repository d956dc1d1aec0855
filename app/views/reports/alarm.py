"""The degradation alarm wherever a precision is used, and the limits that it watches."""

from __future__ import annotations

import streamlit as st

from app.literal import literal
from app.quantization.degradation import Alarm
from app.store import AlarmLimits, LabStore
from app.views.shared.errors import errors_shown

ICON = ":material/warning:"
_KLD, _SAME_TOP = "alarm-kld-mean", "alarm-same-top"


def show_alarm(alarm: Alarm | None, *, of: str = "") -> None:
    """The alarm in words, if there is one; ``of`` says whose it is."""
    if alarm:
        st.warning(literal(f"{of}: {alarm}" if of else str(alarm)), icon=ICON)


def edit_limits(lab: LabStore) -> AlarmLimits:
    """The limits, and a popover to change them; they are kept for everybody.

    Raises:
        StoreError: the run database cannot be read.
    """
    limits = lab.limits()

    def keep() -> None:
        with errors_shown():
            kld_mean, same_top = st.session_state[_KLD], st.session_state[_SAME_TOP]
            lab.set_limits(AlarmLimits(kld_mean=kld_mean, same_top=same_top / 100))

    with st.popover("Degradation alarm", icon=":material/notifications:"):
        st.caption("A precision beyond either limit is marked here, in the playground, and on every run that used it.")
        st.number_input(
            "KLD mean above, nats",
            min_value=0.0,
            value=limits.kld_mean,
            step=0.01,
            format="%.3f",
            key=_KLD,
            on_change=keep,
            help="Kullback-Leibler divergence from the 16-bit model, averaged over the scored tokens.",
        )
        st.number_input(
            "Top-1 agreement below, %",
            min_value=0.0,
            max_value=100.0,
            value=limits.same_top * 100,
            step=1.0,
            format="%.1f",
            key=_SAME_TOP,
            on_change=keep,
            help="The share of tokens at which both models hold the same token for the likeliest.",
        )
    return limits
