"""What a session shows, as far as its address says it: the page, and what query parameters name."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import streamlit as st

_SHOWN, _ARRIVED = "address-page", "address-arrived"


def here() -> str:
    """The address of the page on view with what it says of what is shown, without a slash before it."""
    query = urlencode([(name, value) for name in st.query_params for value in st.query_params.get_all(name)], safe=",")
    page = st.session_state.get(_SHOWN, "")
    return f"{page}?{query}" if query else page


def is_here(address: str) -> bool:
    """Whether the page on view is that of an address, and says all that this says, whatever it says besides."""
    page, _, query = address.partition("?")
    said = all(value in st.query_params.get_all(name) for name, value in parse_qsl(query))
    return page == st.session_state.get(_SHOWN) and said


def arrive(page: str) -> None:
    """Note that a page is about to be drawn."""
    st.session_state[_ARRIVED] = st.session_state.get(_SHOWN) != page
    st.session_state[_SHOWN] = page


def arrived() -> bool:
    """Whether the page is drawn for the first time since another one was shown."""
    return bool(st.session_state.get(_ARRIVED))


def named_anew(parameter: str) -> str | None:
    """What the address names where this session did not write it: a link was opened, or Back or Forward was pressed.
    ``None`` where it names nothing, or what :func:`put` wrote."""
    named = st.query_params.get(parameter)
    return named if named != st.session_state.get(_written(parameter)) else None


def put(parameter: str, value: str) -> None:
    """Let the address name a value."""
    st.session_state[_written(parameter)] = value
    if st.query_params.get(parameter) != value:
        st.query_params[parameter] = value


def _written(parameter: str) -> str:
    return f"address-of-{parameter}"
