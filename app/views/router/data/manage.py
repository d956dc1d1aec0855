"""A data set renamed, copied with changes, or deleted; a tier's recording deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from app import units
from app.literal import literal
from app.router.recorded.data_sets import DataSet
from app.router.recorded.forks import edited, expected_text, keep_fork
from app.router.recorded.recording import mixed_sha256
from app.router.recorded.recordings import job_key
from app.session.labs.router import DATA_SET
from app.store import RouterStore
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import errors_shown, show_error
from engine import Task
from engine.errors import GearboxError, InvalidRequestError

_NAME_CHARACTERS = 120
_NAME = "router-rename"
_REFUSED = "router-not-done"
_ACTIONS: Mapping[str, str] = {
    "rename": ":material/edit: Rename",
    "fork": ":material/call_split: Fork",
    "delete recording": ":material/playlist_remove: Delete a recording",
    "delete": ":material/delete: Delete this data set",
}


def manage_set(store: RouterStore, data: DataSet | None, identity: str, name: str, tasks: Sequence[Task]) -> None:
    """What can be done with the set whose prompts are recorded, in a menu: the rest happens in dialogs. A set that
    comes with Gearbox keeps its name and stays."""
    kept = data is not None and data.id == identity
    own = kept and identity != mixed_sha256()
    possible = {"rename": own, "fork": True, "delete recording": kept and data and data.recorded, "delete": own}
    match st.menu_button(
        "Manage",
        [action for action in _ACTIONS if possible[action]],
        key="router-manage",
        icon=":material/settings:",
        format_func=_ACTIONS.__getitem__,
    ):
        case "rename":
            _rename_set(store, identity, name)
        case "fork":
            fork_set(store, identity if kept else None, name, tasks)
        case "delete recording" if data is not None:
            _delete_recording(store, data)
        case "delete":
            _delete_set(store, identity, name)


@st.dialog("Rename")
def _rename_set(store: RouterStore, identity: str, name: str) -> None:
    def rename() -> None:
        wanted = str(st.session_state[_NAME]).strip()
        if not wanted:
            raise InvalidRequestError("Give it a name first.")
        store.rename_set(identity, wanted)

    with st.form("router-rename-form", border=False), errors_shown():
        st.text_input("Name", name, max_chars=_NAME_CHARACTERS, key=_NAME)
        pressed = st.form_submit_button(
            "Rename", key="router-rename-do", type="primary", on_click=_attempt, args=(rename,)
        )
        _close_if(pressed)


@st.dialog("Delete a recording?")
def _delete_recording(store: RouterStore, data: DataSet) -> None:
    with errors_shown():
        recorded = [tier for tier in data.tiers if tier in data.recorded]
        tier = st.selectbox("Recording of", recorded, key="router-delete-tier")
        st.caption("What you recorded of this tier goes. What somebody else recorded stays.")
        delete = partial(store.delete_recording, data.id, tier, data.weights[tier])
        _close_if(_delete_button("Delete recording", "router-delete-recording", data.id, delete))


@st.dialog("Delete this data set?")
def _delete_set(store: RouterStore, identity: str, name: str) -> None:
    with errors_shown():
        answers = sum(recorded.answers for recorded in store.recorded(identity))
        st.write(
            f"“{literal(name)}” goes with {units.counted(answers, 'recorded answer')} and all marks. Profiles made "
            "from it stay. Who added it too keeps it; what belongs to this desk is gone for everybody."
        )
        _close_if(_delete_button("Delete data set", "router-delete-do", identity, partial(store.delete_set, identity)))


def _delete_button(label: str, key: str, identity: str, delete: Callable[[], object]) -> bool:
    running = BackgroundJob(job_key(identity)).running
    return st.button(
        label,
        key=key,
        type="primary",
        icon=":material/delete:",
        disabled=running,
        help="It is being recorded: cancel that first." if running else None,
        on_click=_attempt,
        args=(delete,),
    )


def _attempt(do: Callable[[], object]) -> None:
    """A callback of a dialog: what it shows is gone once the dialog draws itself again, so a refusal is kept for it."""
    st.session_state.pop(_REFUSED, None)
    try:
        do()
    except GearboxError as error:
        st.session_state[_REFUSED] = str(error)


def _close_if(pressed: bool) -> None:
    """Close the dialog whose button was pressed, unless what it does was refused."""
    if not pressed:
        return
    if refusal := st.session_state.pop(_REFUSED, None):
        show_error(refusal)
    else:
        st.rerun()


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
