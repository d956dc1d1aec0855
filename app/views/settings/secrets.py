"""Whether secrets can be kept."""

from __future__ import annotations

import streamlit as st

from app.secrets import Secrets
from app.units import counted


def show_secrets(secrets: Secrets) -> None:
    """Whether there is a key that seals them, and how to have one."""
    st.subheader(
        "Secrets",
        anchor=False,
        help="Addresses of alert channels and keys of other servers. GEARBOX_SECRET_KEY encrypts them in the run "
        "database, so that a copy of it tells them to nobody.",
    )
    if not secrets.can_keep:
        st.write("Secrets cannot be kept encrypted: there is no GEARBOX_SECRET_KEY. `gearbox secret-key` makes one.")
        return
    st.write("Secrets are kept encrypted in the run database.")
    if secrets.older_keys:
        st.caption(
            f"{counted(secrets.older_keys, 'older key')} in GEARBOX_SECRET_KEY, for what is not yet sealed anew."
        )
