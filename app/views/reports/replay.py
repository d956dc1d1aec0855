"""Recorded runs played again: in the page, and as a file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

import streamlit as st

from app import units
from app.replay.page_file import BODY, MOST_LANES, SCRIPT, STYLE, replay_data, replay_page
from app.replay.recorded import ReplayLane

_PLAY = """
export default function ({ data, parentElement }) {
  theatre(parentElement.querySelector(".theatre"), data)
}
"""
_component = st.components.v2.component("gearbox_replay", html=BODY, css=STYLE, js=SCRIPT + _PLAY)


def show_replay(lanes: Sequence[ReplayLane], *, key: str) -> None:
    """The lanes on one clock, and a button that saves them as a file. Of more lanes than a replay has, the first."""
    lanes = lanes[:MOST_LANES]
    _component(key=key, data=replay_data(lanes, title=""))
    page = replay_page(lanes).encode()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Save as a file",
            page,
            file_name=f"gearbox-replay-{lanes[0].recorded_at.astimezone(UTC):%Y-%m-%d}.html",
            mime="text/html",
            key=f"{key}-save",
            icon=":material/download:",
            on_click="ignore",
            help="One HTML file that opens in any browser, without a network. It holds the prompt and the answers.",
        )
        st.caption(f"{units.memory(len(page))}, opens offline", width="content")
