"""Who asks for what a page shows."""

from __future__ import annotations

import uuid
from typing import cast

import streamlit as st

from app.doors.identity import COOKIE, person_of

TAB_ID = "tab-id"
"""Where a tab without cookies has its id."""


def person_id() -> str:
    """The person whose browser this is, as it is stored with what is theirs; their prefix cache is their own by it.

    The same after a reload, in every tab and after a restart of the server. A browser that keeps no cookies is a
    person of its own in each tab.
    """
    return known_person() or cast(str, st.session_state.setdefault(TAB_ID, uuid.uuid4().hex))


def known_person() -> str | None:
    """The person, if the browser will be known again."""
    identity: object = st.context.cookies.get(COOKIE)
    return person_of(identity) if isinstance(identity, str) else None  # where no browser runs the script, it is a mock
