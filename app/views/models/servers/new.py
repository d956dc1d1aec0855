"""Adding a model of a server: where it is, what it has, what to call it."""

from __future__ import annotations

import streamlit as st

from app import resources
from app.literal import literal
from app.models.remote.offered import Offered
from app.models.remote.registry import KEY_FIELD, RemoteModels, key_warning
from app.remote.address import base_of
from app.session.identity import person_id
from app.views.models.servers.form import ADDRESSES, fields
from app.views.shared.errors import errors_shown, show_error
from engine.errors import GearboxError

_ROUND = "server-new-round"
"""Counts those that were added: the next one begins with empty fields."""
_REFRESH_EVERY = "0.5s"


def add_server(remotes: RemoteModels, currency: str, *, expanded: bool) -> None:
    """Ask for its address and key, show what it offers, and keep one of its models."""
    begins = f"server-new-{st.session_state.get(_ROUND, 0)}"
    with st.expander("Add a server", icon=":material/add:", expanded=expanded):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            url = st.text_input("Address", key=f"{begins}-url", placeholder="http://127.0.0.1:8000", help=ADDRESSES)
            key = st.text_input(
                "Key",
                type="password",
                key=f"{begins}-key",
                placeholder="None",
                help="Sent as a bearer token to this server alone. It is not shown again.",
            )
            base = _base(url)
            look = st.button("List its models", key="server-new-look", icon=":material/list:", disabled=base is None)
        _warn(remotes, base, key)
        models = _look(url, key, base) if look else _found(base)
        filled = fields(begins, currency, models=models)
        if st.button("Add", key="server-new-add", type="primary", icon=":material/add:", disabled=base is None):
            with errors_shown():
                remotes.add(
                    name=filled.name,
                    url=url,
                    served_name=filled.served_name,
                    metrics_url=filled.metrics_url,
                    key=key,
                    price=filled.price(),
                )
                st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
                st.rerun()


def _base(url: str) -> str | None:
    """The address, checked; what is wrong with it is told unless nothing was typed."""
    if not url.strip():
        return None
    try:
        return base_of(url, KEY_FIELD)
    except GearboxError as error:
        show_error(error)
        return None


def _warn(remotes: RemoteModels, base: str | None, key: str) -> None:
    if key and not remotes.can_seal:
        st.caption(
            ":orange[:material/key: There is no GEARBOX_SECRET_KEY: the key stays in Gearbox's memory, and has to be "
            "given again after a restart.]"
        )
    if base and (warning := key_warning(base, has_key=bool(key))):
        st.caption(f":orange[:material/lock_open: {warning}]")


def _look(url: str, key: str, base: str | None) -> tuple[str, ...]:
    with errors_shown():
        resources.get_offers().look(person_id(), url, key)
    return _found(base)


def _found(base: str | None) -> tuple[str, ...]:
    """The models of a server, once it was looked at; a look that goes on, or came to nothing, is told."""
    if base is None:
        return ()
    offers, person = resources.get_offers(), person_id()
    state, found = offers.state(person, base), offers.found(person, base)
    if state is not None and state.running:
        st.fragment(_wait, run_every=_REFRESH_EVERY)(base)
        return ()
    if state is not None and state.error:
        show_error(state.error)
        return ()
    if found is None:
        return ()
    st.caption(_words(found))
    return found.models


def _words(found: Offered) -> str:
    if not found.models:
        return "The server lists no models: type what it calls its own."
    if len(found.models) == 1:
        return f":green[:material/check: It has {literal(found.models[0])}.]"
    return f":green[:material/check: It has {len(found.models):,} models.]"


def _wait(base: str) -> None:
    state = resources.get_offers().state(person_id(), base)
    if state is None or not state.running:
        st.rerun()
    st.caption("Asking the server…")
