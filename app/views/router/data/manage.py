"""A data set renamed, copied with changes, or deleted; a tier's recording deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import units
from app.literal import literal
from app.router.recorded.data_sets import DataSet
from app.router.recorded.forks import edited, expected_text, keep_fork
from app.router.recorded.recording import mixed_sha256
from app.router.recorded.recordings import job_key
from app.session.router import DATA_SET
from app.store import RouterStore, StoreError
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import errors_shown, show_error
from engine import Task

_ITS_OWN = "It comes with Gearbox: only what was recorded of it can be deleted."
_NAME_CHARACTERS = 120
_NOT_DELETED = "router-not-deleted"


def manage_set(store: RouterStore, data: DataSet | None, identity: str, name: str, tasks: Sequence[Task]) -> None:
    """What can be done with the set whose prompts are recorded, in a popover."""
    comes_with_gearbox = identity == mixed_sha256()
    kept = data is not None and data.id == identity
    running = BackgroundJob(job_key(identity)).running
    with st.popover("Manage", icon=":material/settings:"):
        if kept:
            _rename(store, identity, name, comes_with_gearbox)
        if st.button(
            "Fork",
            key="router-fork",
            icon=":material/call_split:",
            help="A data set of its own with another name, fewer prompts or other words.",
        ):
            fork_set(store, identity if kept else None, name, tasks)
        if kept and data is not None and data.recorded:
            _delete_recording(store, data, running)
        if kept and st.button(
            "Delete this data set",
            key="router-delete",
            icon=":material/delete:",
            disabled=comes_with_gearbox or running,
            help=_ITS_OWN if comes_with_gearbox else "It is being recorded: cancel that first." if running else None,
        ):
            _confirm_delete(store, identity, name)


def _rename(store: RouterStore, identity: str, name: str, comes_with_gearbox: bool) -> None:
    if comes_with_gearbox:
        return
    with st.form("router-rename", border=False), errors_shown():
        wanted = st.text_input("Name", name, max_chars=_NAME_CHARACTERS, key=f"router-rename-{identity}-{name}")
        if st.form_submit_button("Rename", key="router-rename-do", icon=":material/edit:"):
            if not wanted.strip():
                st.error("Give it a name first.", icon=":material/error:")
                return
            store.rename_set(identity, wanted.strip())
            st.rerun()


def _delete_recording(store: RouterStore, data: DataSet, running: bool) -> None:
    tier = st.selectbox("Recording", [tier for tier in data.tiers if tier in data.recorded], key="router-delete-tier")
    if st.button(
        "Delete this recording",
        key="router-delete-recording",
        icon=":material/playlist_remove:",
        disabled=running,
        help="It is being recorded: cancel that first."
        if running
        else "What you recorded of this tier. What somebody else recorded stays.",
    ):
        with errors_shown():
            gone = store.delete_recording(data.id, tier, data.weights[tier])
            st.toast(f"Deleted: {units.counted(gone, 'answer')} of {literal(tier)}.")
            st.rerun()


@st.dialog("Delete this data set?")
def _confirm_delete(store: RouterStore, identity: str, name: str) -> None:
    with errors_shown():
        answers = sum(recorded.answers for recorded in store.recorded(identity))
        st.write(
            f"“{literal(name)}” goes with {units.counted(answers, 'recorded answer')} and all marks. Profiles made "
            "from it stay. Who added it too keeps it; what belongs to this desk is gone for everybody."
        )
        if st.button(
            "Delete data set", type="primary", key="router-delete-do", on_click=_delete, args=(store, identity)
        ):
            if refusal := st.session_state.pop(_NOT_DELETED, None):
                show_error(refusal)
            else:
                st.rerun()


def _delete(store: RouterStore, identity: str) -> None:
    st.session_state.pop(_NOT_DELETED, None)
    try:
        store.delete_set(identity)
    except StoreError as error:
        # what a callback shows is gone once the dialog draws itself again, so the dialog says it
        st.session_state[_NOT_DELETED] = str(error)


@st.dialog("Fork", width="large")
def fork_set(store: RouterStore, source: str | None, name: str, tasks: Sequence[Task]) -> None:
    """A dialog that makes a data set of its own from another; ``source`` is whose answers may come along."""
    with errors_shown():
        wanted = st.text_input("Name", f"{name}, changed", max_chars=_NAME_CHARACTERS, key="router-fork-name")
        categories = sorted({task.category for task in tasks})
        chosen = st.multiselect(
            "Categories",
            categories,
            key="router-fork-categories",
            placeholder="All",
            help="Only prompts of these; all where none is chosen.",
        )
        shown = [task for task in tasks if not chosen or task.category in chosen]
        rows: dict[str, list[Any]] = st.data_editor(
            {
                "Keep": [True] * len(shown),
                "Prompt": [task.prompt for task in shown],
                "Category": [task.category for task in shown],
                "Expected": [expected_text(task) for task in shown],
                "Checked by": [task.checker or "" for task in shown],
            },
            disabled=["Checked by"],
            height=320,
            key=f"router-fork-rows-{source}-{'|'.join(chosen)}",  # what is changed belongs to these very rows
            column_config={"Prompt": st.column_config.TextColumn(width="large")},
            alt="The prompts, to be changed",
        )
        take_answers = source is not None and st.toggle(
            "Take along the answers to unchanged prompts", True, key="router-fork-answers"
        )
        if st.button("Fork", type="primary", key="router-fork-do", icon=":material/call_split:"):
            kept = [
                edited(task, f"row {place}", prompt=prompt or "", category=category or "", expected=expected or "")
                for place, (task, keep, prompt, category, expected) in enumerate(
                    zip(shown, rows["Keep"], rows["Prompt"], rows["Category"], rows["Expected"], strict=True), 1
                )
                if keep
            ]
            DATA_SET.turn_to(keep_fork(store, source if take_answers else None, wanted, kept, tasks))
            st.rerun()
