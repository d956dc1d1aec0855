"""The Router lab's way in: a file of prompts, and what becomes of it here."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import units
from app.literal import literal
from app.prompts.gathering import Brought
from app.quantization.tasks import tasks_sha256
from app.router.lab import RouterLab
from app.session.labs.router import DATA_SET
from app.store import KeptSet, RouterStore
from app.views.prompts.keeping import keep, kept_already, kept_words
from app.views.prompts.upload import Uploader
from app.views.router.data.manage import fork_set
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown
from engine import Task

_KEY = "router-bring"
_UPLOADER, _TOLD = Uploader(_KEY), "router-brought"


def show_bring(store: RouterStore, lab: RouterLab) -> bool:
    """The upload, what it will become, and the word that it worked.

    Returns:
        Whether a file waits to be kept: to go on now would be to go on without it.
    """
    if told := st.session_state.pop(_TOLD, None):
        st.success(told, icon=":material/check_circle:")
    file = _UPLOADER.file()
    if file is None:
        return False
    with errors_shown():
        brought = _UPLOADER.read(file, unscored="the large model's answer")
        if brought.tasks:
            _keep(store, lab, file.name, brought)
    return True


def _keep(store: RouterStore, lab: RouterLab, file_name: str, brought: Brought) -> None:
    if there := kept_already(store, brought):
        _say_it_is_there(store, there, brought.tasks)
    elif name := keep(store, _KEY, file_name, brought, lab.names().values()):
        told = f"{kept_words(name, brought)} Next: record what tiers answer to them."
        _taken(tasks_sha256(brought.tasks), told)


def _say_it_is_there(store: RouterStore, there: KeptSet, tasks: Sequence[Task]) -> None:
    answers = sum(recorded.answers for recorded in store.recorded(there.sha256))
    st.info(
        f"These prompts are here already, as “{literal(there.name)}”, since "
        f"{units.moment(there.created_at, reader_zone())}, with {units.counted(answers, 'recorded answer')}.",
        icon=":material/inventory_2:",
    )
    with st.container(horizontal=True):
        if st.button("Go on with it", type="primary", key=f"{_KEY}-open", icon=":material/arrow_forward:"):
            _taken(there.sha256, f"“{literal(there.name)}” is chosen. Next: record what tiers answer, or record again.")
        if st.button(
            "Fork",
            key=f"{_KEY}-fork",
            icon=":material/call_split:",
            help="A data set of its own with the same prompts, or some of them, under another name.",
        ):
            fork_set(store, there.sha256, there.name, tasks)


def _taken(identity: str, told: str) -> None:
    DATA_SET.turn_to(identity)
    st.session_state[_TOLD] = told
    _UPLOADER.clear()
    st.rerun()
