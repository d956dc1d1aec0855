"""Who is asked to sign in, and the way out."""

from __future__ import annotations

import streamlit as st

from app.literal import literal


def show_login(*, only_this_machine: bool) -> None:
    """Whether others sign in; for who has, the link that signs out."""
    if only_this_machine:
        return
    st.subheader("Signing in", anchor=False)
    email: object = st.user.get("email")
    st.caption(f"Signed in as {literal(str(email))}." if email else "Everybody who sees this page has signed in.")
    st.link_button("Sign out", "sign-out", icon=":material/logout:")
