"""Removing a model: what goes, what stays, and the button."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import resources, units
from app.literal import literal
from app.models.references import References, references_to, stays_in_words
from app.models.removing import removal_key, removing
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import errors_shown
from engine import ModelInfo, Removal, removal_of


def removal_job(name: str) -> BackgroundJob:
    """The background job that removes a model."""
    return BackgroundJob(removal_key(name), when_cancelled="Nothing was removed.", title=f"Removing {name}")


@st.dialog("Remove this model?", icon=":material/delete:")
def confirm_removal(model: ModelInfo, models_dir: Path) -> None:
    """Ask before removing."""
    with errors_shown():
        removal = removal_of(model.name, models_dir)
        references = references_to(model.name, resources.get_store())  # who may remove it sees all
        st.markdown(_what_goes(removal))
        if stays := _what_stays(references):
            st.markdown(stays)
        st.caption(_how_it_comes_back(removal))
        busy = "It is answering now: wait until that has ended." if references.running else None
        if st.button(
            f"Remove {literal(model.name)}",
            type="primary",
            key="remove-confirm",
            disabled=busy is not None,
            help=busy,
            on_click=removal_job(model.name).begin,
            args=(removing(model.name, models_dir, resources.get_engine),),
        ):
            st.rerun()


def _what_goes(removal: Removal) -> str:
    if removal.is_link:
        return f"{literal(removal.name)} is a link to a folder elsewhere. The link goes, the folder stays."
    parts = [f"- {units.memory(removal.weights_bytes)}: the model's folder"]
    if removal.source:
        linked = "" if removal.source_bytes else ", which is a file of yours too and stays there"
        parts.append(f"- {units.memory(removal.source_bytes)}: {literal(removal.source.name)}{linked}")
    if removal.packed_bytes:
        parts.append(f"- {units.memory(removal.packed_bytes)}: what was packed of it for precisions")
    return "\n".join([f"This frees **{units.memory(removal.freed_bytes)}**:", "", *parts])


def _what_stays(references: References) -> str:
    lines = [f"- {literal(line)}" for line in stays_in_words(references)]
    return "\n".join(["What was made with it stays, and cannot be repeated without it:", "", *lines]) if lines else ""


def _how_it_comes_back(removal: Removal) -> str:
    if removal.comes_back:
        return "It can be installed again."
    return "" if removal.is_link else "This cannot be undone: it would have to be added or downloaded again."
