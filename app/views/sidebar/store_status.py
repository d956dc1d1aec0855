"""What the run database could not take yet, for the sidebar."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from app import resources, units
from app.literal import literal
from app.store import StoreError, Waiting
from app.views.shared.errors import errors_shown


@st.fragment(run_every="5s")
def show_store_status() -> None:
    """Results that wait to be written, and a database file that was deleted or replaced; kept up to date. Nothing
    where all is well."""
    with suppress(StoreError):  # of a database that cannot be opened, the pages tell
        store = resources.get_store()
        if lost := store.file_lost:
            st.error(literal(lost), title="The run database is gone", icon=":material/database_off:")
            if st.button(
                "Open what is there now",
                key="open-what-is-there",
                icon=":material/database:",
                help="Use the file that is now in the database's place, or begin a new one if there is none. Results "
                "that wait are written into it. What was stored in the old file stays there.",
            ):
                with errors_shown():
                    store.open_what_is_there()
                    st.rerun()
        if notice := store.log_lost:
            st.warning(literal(notice), icon=":material/history_off:")
        if waiting := store.waiting:
            st.warning(
                literal(f"{waiting.why} {_where(waiting)}"),
                title=f"{units.counted(waiting.results, 'result')} {_verb(waiting.results)} to be written",
                icon=":material/hourglass_empty:",
            )
        if left := store.left_behind:
            file, why = left
            st.warning(
                literal(f"{why} They lie in {file}, and are taken in as soon as that is possible."),
                title="Results of an earlier server wait to be written",
                icon=":material/hourglass_empty:",
            )
        if refused := store.refused:
            count, file = refused
            st.warning(
                f"{units.counted(count, 'result')} could not be stored: the run database has no place for "
                f"{'it' if count == 1 else 'them'}. See {literal(str(file))}, which Gearbox does not read again.",
                icon=":material/block:",
            )


def _verb(count: int) -> str:
    return "waits" if count == 1 else "wait"


def _where(waiting: Waiting) -> str:
    """Where results are meanwhile, and what happens next."""
    files = ", ".join(str(file) for file in waiting.aside)
    if not waiting.in_memory_only:
        return f"Kept in {files} meanwhile, and written as soon as that is possible, after a restart too."
    held = f", the others in {files}" if files else ""
    return (
        f"{units.counted(waiting.in_memory_only, 'result')} could be written nowhere and would be lost if the server "
        f"ended now{held}. Free some space: the rest goes by itself."
    )
