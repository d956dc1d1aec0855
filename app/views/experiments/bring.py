"""Prompts of one's own, brought without leaving the Experiments page."""

from __future__ import annotations

import streamlit as st

from app import units
from app.experiments.planning.prompt_sets import brought_names, prompt_sets
from app.literal import literal
from app.prompts.gathering import Brought
from app.quantization.tasks import tasks_sha256
from app.session.experiments import PROMPTS
from app.store import RunStore
from app.views.prompts.keeping import keep, kept_already, kept_words
from app.views.prompts.upload import Uploader
from app.views.shared.clock import reader_zone
from app.views.shared.errors import errors_shown

_KEY = "experiments-bring"
_UPLOADER, _TOLD = Uploader(_KEY), "experiments-brought"


@st.dialog("Bring prompts", width="large", icon=":material/upload_file:")
def bring_prompts(store: RunStore) -> None:
    """The dialog. What is kept in it is chosen."""
    st.caption(
        "A row or a line for each prompt. With a column of expected answers, code can tell which answers are right; "
        "without one, answers are held against the baseline's."
    )
    file = _UPLOADER.file()
    if file is None:
        return
    with errors_shown():
        brought = _UPLOADER.read(file, unscored="the baseline's answer")
        if brought.tasks:
            _keep(store, file.name, brought)


def tell_brought() -> None:
    """The word that it worked, once."""
    if told := st.session_state.pop(_TOLD, None):
        st.success(told, icon=":material/check_circle:")


def _keep(store: RunStore, file_name: str, brought: Brought) -> None:
    if there := kept_already(store.router, brought):
        st.info(
            f"These prompts are here already, as “{literal(there.name)}”, since "
            f"{units.moment(there.created_at, reader_zone())}.",
            icon=":material/inventory_2:",
        )
        if st.button("Choose them", type="primary", key=f"{_KEY}-open", icon=":material/check:"):
            _choose(store, brought, f"“{literal(there.name)}” is chosen.")
    elif name := keep(store.router, _KEY, file_name, brought, prompt_sets(store)):
        _choose(store, brought, kept_words(name, brought))


def _choose(store: RunStore, brought: Brought, told: str) -> None:
    PROMPTS.turn_to(brought_names(store.router)[tasks_sha256(brought.tasks)])
    st.session_state[_TOLD] = told
    _UPLOADER.clear()
    st.rerun()
