"""Saved configurations as files, and one as a command line of vLLM."""

from __future__ import annotations

import json
from collections.abc import Sequence

import streamlit as st

from app import resources
from app.configurations.exchange import export_file, import_file
from app.configurations.vllm import vllm_command
from app.literal import literal
from app.session.identity import person_id
from app.store import SavedConfiguration
from app.units import counted
from app.views.gears.models import answering
from app.views.shared.errors import errors_shown
from engine import ModelInfo
from engine.types import RunConfig

_ROUND, _TOLD = "saved-import-round", "saved-import-told"


def show_exchange(saved: Sequence[SavedConfiguration], models: Sequence[ModelInfo]) -> None:
    """Save all of them as a file, and take one that another Gearbox saved."""
    with st.expander("As a file", icon=":material/swap_horiz:"):
        exported = export_file(saved)
        st.download_button(
            "Export all",
            exported.text,
            "gearbox-configurations.toml",
            "application/toml",
            key="saved-export",
            icon=":material/download:",
            disabled=not exported.configurations,
            help="TOML for another Gearbox, `gearbox configurations import` and experiments.",
            on_click="ignore",
        )
        for name in exported.unreadable:
            st.caption(f":orange[{literal(name)} is left out: this version cannot read it.]")
        file = st.file_uploader(
            "Import", type=["toml"], key=f"saved-import-{st.session_state.get(_ROUND, 0)}", max_upload_size=1
        )
        if file is not None:
            with errors_shown():
                _import(file.name, file.getvalue(), models)
        if told := st.session_state.pop(_TOLD, None):
            st.success(told, icon=":material/check_circle:")


def show_vllm(config: RunConfig, models: Sequence[ModelInfo]) -> None:
    """The command line that comes nearest, and what has no counterpart."""
    known = {model.name: model for model in models}
    command = vllm_command(
        config,
        where=lambda name: f"models/{name}" if name in known and "/" not in name else name,
        context_length=known[config.model].context_length if config.model in known else None,
    )
    with st.expander("As a vLLM command", icon=":material/terminal:"):
        st.code(command.line, language="bash", wrap_lines=True)
        st.caption("Given in Gearbox's data folder; `gearbox export-vllm` prints whole paths.")
        _list("Without a counterpart", command.without)
        _list("Not quite the same", command.differs)
        st.caption("In each request")
        st.code(json.dumps(command.per_request), language="json", wrap_lines=True)


def _import(name: str, data: bytes, models: Sequence[ModelInfo]) -> None:
    installed = answering([model.name for model in models if model.installed])
    found = import_file(resources.get_store().configurations, person_id(), data, name, installed)
    missing = sorted({model for each in found for model in each.missing})
    absent = f" Not installed here: {literal(', '.join(missing))}." if missing else ""
    names = literal(", ".join(f"“{each.name}”" for each in found))
    st.session_state[_TOLD] = f"{counted(len(found), 'configuration')} saved: {names}.{absent}"
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    st.rerun()


def _list(title: str, sentences: Sequence[str]) -> None:
    if sentences:
        st.caption("\n".join([title, *(f"- {literal(each)}" for each in sentences)]))
