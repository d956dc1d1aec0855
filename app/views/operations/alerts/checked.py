"""Which server looks at the rules, and when it last did."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from app.literal import literal
from app.store import Holder
from app.views.shared.clock import now

_LATE = timedelta(minutes=3)


def show_last_look(holder: Holder | None) -> None:
    """A word on it; a warning where nobody looks."""
    if holder is None:
        st.caption(":material/hourglass_top: No server looks at the rules yet.", width="content")
        return
    if abs(now() - holder.seen_at) > _LATE:
        st.markdown(
            ":orange[:material/warning: The server that looks at the rules has been silent for minutes: see its log.]",
            width="content",
        )
        return
    who = "this server" if holder.here else f"process {holder.pid} on {literal(holder.host)}"
    st.caption(f":material/check: Rules are looked at by {who}.", width="content")
