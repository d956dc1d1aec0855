"""The ways to use what an autopilot chose."""

from __future__ import annotations

import streamlit as st

from app import resources
from app.experiments.planning.design import NamedConfiguration
from app.literal import literal
from app.session import chat, playground
from app.session.identity import person_id
from app.views.shared.errors import errors_shown

_PLACES = {
    "playground": ("Use in Playground", ":material/play_circle:"),
    "chat": ("Use in Chat", ":material/forum:"),
    "saved": ("Save as configuration", ":material/bookmark_add:"),
}


def show_use(baseline: NamedConfiguration, chosen: NamedConfiguration, name: str, *, main: bool) -> None:
    """A button for each place.

    Args:
        baseline: what it is held against in the Playground.
        chosen: the configuration.
        name: of the autopilot.
        main: whether using it is what one would do next.
    """
    with st.container(horizontal=True):
        pressed = [
            place
            for place, (label, icon) in _PLACES.items()
            if st.button(
                label,
                key=f"autopilot-use-{place}",
                icon=icon,
                type="primary" if main and place == "playground" else "secondary",
                help="Under its name among the saved configurations, and a model of the API."
                if place == "saved"
                else None,
            )
        ]
    for place in pressed:
        with errors_shown():
            _put_to_use(place, baseline, chosen, name)


def _put_to_use(place: str, baseline: NamedConfiguration, chosen: NamedConfiguration, name: str) -> None:
    words = f"what the autopilot “{name}” chose: {chosen.name}"
    match place:
        case "playground":
            notice = f"Lane B is {words}; lane A is its baseline."
            playground.hold_against(baseline.config, chosen.config, notice)
            st.switch_page("pages/playground.py")
        case "chat":
            chat.begin_with(chosen.config, f"This new conversation is answered by {words}.")
            st.switch_page("pages/chat.py")
        case _:
            configurations = resources.get_store().configurations
            saved = configurations.save_once(person_id(), chosen.name, chosen.config.to_dict())
            st.toast(f"Saved as the configuration “{literal(saved)}”.", icon=":material/bookmark_added:")
