"""The API's keys: making one, whose there are, ending one."""

from __future__ import annotations

import streamlit as st

from app.doors.keys import Key, KeyLimits
from app.literal import literal
from app.store import KeyStore, StoreError
from app.units import count, counted, moment
from app.views.shared.clock import reader_zone
from app.views.shared.errors import show_error

_USUAL = KeyLimits()
_NOT_REVOKED = "key-not-revoked"
"""Why a key could not be revoked, until the dialog has said it."""


def show_keys(keys: KeyStore, person: str) -> None:
    """The keys, and the buttons that make and end them.

    Args:
        keys: where they are kept.
        person: who looks, and makes new ones.
    """
    every = keys.list()
    live = [key for key in every if key.revoked_at is None]
    revoked = [key for key in every if key.revoked_at is not None]
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader("Keys", anchor=False, width="content")
        if st.button("New key", icon=":material/add:", type="primary", key="new-key"):
            make_key(keys, person)
    if not live:
        st.info("No keys yet. Whoever uses the API from another machine needs one.")
    for key in live:
        if _show(key):
            confirm_revoke(keys, key)
    if revoked:
        with st.expander(f"{counted(len(revoked), 'key')} revoked", icon=":material/key_off:"):
            for key in revoked:
                st.markdown(
                    f"`{key.prefix}…` {literal(key.name)} :gray[· revoked {moment(key.revoked_at, reader_zone())}]"
                )


def _show(key: Key) -> bool:
    """Draw a key; whether it is to be revoked."""
    limits, zone = key.limits, reader_zone()
    facts = {
        "Key": f"`{key.prefix}…`",
        "Made": moment(key.created_at, zone),
        "Last used": moment(key.last_used_at, zone) if key.last_used_at else "Never",
        "Requests a minute": _limit(limits.requests_per_minute),
        "Tokens a minute": _limit(limits.tokens_per_minute),
        "At a time": _limit(limits.concurrent),
        "Waiting": _limit(limits.queue),
    }
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{literal(key.name)}**", width="content")
            revoke = st.button("Revoke", icon=":material/key_off:", key=f"revoke-{key.prefix}")
        with st.container(horizontal=True, gap="medium"):
            for label, value in facts.items():
                st.markdown(f":small[:gray[{label}]]  \n{value}", width="content")
    return revoke


def _limit(most: int | None) -> str:
    return "any" if most is None else count(most)


@st.dialog("New key", icon=":material/key:", on_dismiss="rerun")
def make_key(keys: KeyStore, person: str) -> None:
    """Ask for a name and limits, and show the new key's secret in their place."""
    place = st.empty()
    with place.form("new-key-form", border=False):
        name = st.text_input("Name", max_chars=60, placeholder="Whose it is, or what it is for", key="key-name")
        st.caption("At most, or empty for any number:")
        first, second = st.columns(2)
        requests = _ask(first, "Requests a minute", _USUAL.requests_per_minute, "key-requests")
        tokens = _ask(second, "Tokens a minute", _USUAL.tokens_per_minute, "key-tokens", "Of prompts and answers.")
        concurrent = _ask(first, "Requests at a time", _USUAL.concurrent, "key-concurrent")
        queue = _ask(second, "Requests waiting", _USUAL.queue, "key-queue", "Further ones are refused.", least=0)
        made = st.form_submit_button("Create key", type="primary", key="create-key")
    if not made:
        return
    limits = KeyLimits(requests_per_minute=requests, tokens_per_minute=tokens, concurrent=concurrent, queue=queue)
    try:
        key, secret = keys.create(name, limits, created_by=person)
    except StoreError as error:
        show_error(error)
        return
    with place.container():
        st.markdown(f"The key of **{literal(key.name)}**. Copy it now: it is shown this once.")
        st.code(secret, language=None, wrap_lines=True)


def _ask(
    column: st.delta_generator.DeltaGenerator,
    label: str,
    usual: int | None,
    key: str,
    help: str | None = None,
    *,
    least: int = 1,
) -> int | None:
    most: int | None = column.number_input(
        label, min_value=least, value=usual, step=1, placeholder="Any number", help=help, key=key
    )
    return most


@st.dialog("Revoke this key?", icon=":material/key_off:")
def confirm_revoke(keys: KeyStore, key: Key) -> None:
    """Ask before ending a key."""
    used = f"last used {moment(key.last_used_at, reader_zone())}" if key.last_used_at else "never used"
    st.write(f"“{literal(key.name)}” (`{key.prefix}…`, {used}) will be refused from now on. This cannot be undone.")
    if st.button("Revoke key", type="primary", key="confirm-revoke", on_click=_revoke, args=(keys, key.prefix)):
        if refusal := st.session_state.pop(_NOT_REVOKED, None):
            show_error(refusal)
        else:
            st.rerun()


def _revoke(keys: KeyStore, prefix: str) -> None:
    try:
        keys.revoke(prefix)
    except StoreError as error:  # what a callback shows is gone once the dialog draws itself again
        st.session_state[_NOT_REVOKED] = str(error)
