"""The dialogs that change and remove a model of a server."""

from __future__ import annotations

import streamlit as st

from app.literal import literal
from app.models.remote.registry import KeyPlace, RemoteModels
from app.models.remote.testing import found_abilities
from app.store import KeptRemote
from app.views.models.servers.form import ADDRESSES, fields
from app.views.shared.errors import errors_shown

_KEPT = "Kept: type another one to replace it"


@st.dialog("Edit a server", icon=":material/dns:", width="medium", on_dismiss="rerun")
def change_server(remotes: RemoteModels, remote: KeptRemote, currency: str) -> None:
    """Everything of it but the key, which can only be replaced or removed."""
    begins = f"server-edit-{remote.id}"
    abilities, place = found_abilities(remote), remotes.key_place(remote)
    with st.form(begins, border=False):
        url = st.text_input("Address", value=remote.url, key=f"{begins}-url", help=ADDRESSES)
        key = st.text_input(
            "Key",
            type="password",
            key=f"{begins}-key",
            placeholder="None" if place in (KeyPlace.NONE, KeyPlace.LOST) else _KEPT,
            help="It goes to no other server than the one that it was given for.",
        )
        without = remote.has_key and st.checkbox("Remove the key", key=f"{begins}-without")
        filled = fields(
            begins,
            currency,
            models=abilities.models if abilities else (),
            name=remote.name,
            model=remote.served_name,
            metrics_url=remote.metrics_url,
            price=remote.price,
        )
        saved = st.form_submit_button("Save", type="primary", icon=":material/save:", key=f"{begins}-save")
    if saved:
        with errors_shown():
            remotes.change(
                remote,
                name=filled.name,
                url=url,
                served_name=filled.served_name,
                metrics_url=filled.metrics_url,
                key="" if without else key or None,
                price=filled.price(),
            )
            st.rerun()


@st.dialog("Remove this server?", icon=":material/delete:")
def confirm_removal(remotes: RemoteModels, remote: KeptRemote) -> None:
    """Ask before one is forgotten."""
    st.write(
        f"{literal(remote.name)} and its key are forgotten. Its runs stay; lanes, conversations, configurations and "
        "experiments that name it cannot be answered by it any more."
    )
    if st.button("Remove server", type="primary", key="confirm-remove-server"):
        with errors_shown():
            remotes.remove(remote)
            st.rerun()
