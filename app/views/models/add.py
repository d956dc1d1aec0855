"""A GGUF file of one's own: where it is, what it is, and the button that adds it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import streamlit as st

from app import resources, units
from app.literal import literal
from app.models.own import Looked, adding_key
from app.views.models.expected import show_expected
from app.views.models.facts import show_facts
from app.views.shared.background_job import BackgroundJob
from app.views.shared.errors import show_error
from engine import FAMILIES, FoundModel, check_model_name, free_model_name, model_name_for
from engine.errors import GearboxError

_PATH, _UPLOAD, _FOUND = "Path", "Upload", "Ollama, LM Studio"
_REFRESH_EVERY = "0.5s"


def show_adding(models_dir: Path, listed: Collection[str]) -> None:
    """The whole section, below the models that are ``listed``: the page is drawn again for one that is added since."""
    st.subheader("Add a GGUF file", anchor=False)
    where = st.segmented_control(
        "Where the file is",
        [_PATH, _UPLOAD, _FOUND],
        default=_PATH,
        required=True,
        key="add-where",
        help=f"A model of the {', '.join(FAMILIES)} family. It is checked and converted into a folder of "
        f"{literal(str(models_dir))}; the file stays as it is.",
    )
    if where == _FOUND:
        _show_found(models_dir, listed)
        return
    path = _typed() if where == _PATH else _uploaded()
    if path is not None:
        _show_file(path, model_name_for(path), models_dir, listed)


def _typed() -> Path | None:
    path = st.text_input(
        "Path", key="add-path", placeholder="/home/me/models/Llama-3.2-1B-Instruct-Q4_K_M.gguf", persist_state="session"
    )
    return Path(path.strip()) if path.strip() else None


def _uploaded() -> Path | None:
    file = st.file_uploader("File", type="gguf", key="add-file", help="A larger one is added by its path.")
    if file is None:
        return None
    try:
        return resources.get_own_models().keep_upload(file.file_id, file.name, file.getbuffer())
    except OSError as error:
        show_error(f"The file could not be kept: {error.strerror}.")
        return None


def _show_found(models_dir: Path, listed: Collection[str]) -> None:
    own = resources.get_own_models()
    found = own.found()
    if own.finds or found is None:
        st.fragment(_wait_for_found, run_every=_REFRESH_EVERY)()
        return
    if found:
        _table(found)
    else:
        st.caption("No models of Ollama or LM Studio are on this machine.")
    if st.button("Look again", icon=":material/refresh:", key="add-look-again"):
        own.find_again()
        st.rerun()
    known = {model.file.title: model.file for model in found if model.summary}
    if not known:
        return
    title = st.selectbox("Model to add", list(known), index=None, key="add-found", placeholder="Choose one")
    if title:
        file = known[title]
        _show_file(file.path, free_model_name(file.name, models_dir), models_dir, listed)


def _wait_for_found() -> None:
    if not resources.get_own_models().finds:
        st.rerun()
    st.caption("Looking…")


def _table(found: list[FoundModel]) -> None:
    st.dataframe(
        {
            "Program": [model.file.program for model in found],
            "Model": [model.file.title for model in found],
            "Family": [model.summary.family if model.summary else units.MISSING for model in found],
            "Weights": [", ".join(model.summary.encodings) if model.summary else units.MISSING for model in found],
            "Size": [units.memory(model.file.bytes) for model in found],
            "Can be added": ["Yes" if model.summary else f"No: {model.problem}" for model in found],
        },
        hide_index=True,
    )


def _show_file(path: Path, name: str, models_dir: Path, listed: Collection[str]) -> None:
    """What a file is, as soon as that is known, and what becomes of it."""
    job = BackgroundJob(adding_key(path), when_cancelled="Nothing of it is left.", title=f"Adding {name}")
    if job.running:
        job.follow()
        return
    own = resources.get_own_models()
    if (added := own.added(path)) is not None:
        if added not in listed:
            st.rerun()
        st.success(f"Added as {literal(added)}: it can be chosen wherever a model is.", icon=":material/check:")
        return
    looked = own.look(path)
    if isinstance(looked, Looked):
        _offer(looked, path, name, models_dir, job)
    elif looked.running:
        st.fragment(_wait, run_every=_REFRESH_EVERY)(path)
    else:
        show_error(looked.error or "The file could not be looked at.")


def _wait(path: Path) -> None:
    if isinstance(found := resources.get_own_models().look(path), Looked) or not found.running:
        st.rerun()
    st.caption("Looking at the file…")


def _offer(looked: Looked, path: Path, name: str, models_dir: Path, job: BackgroundJob) -> None:
    own, summary = resources.get_own_models(), looked.summary
    facts = {
        "Family": summary.family,
        "Parameters": f"{summary.parameters / 1e6:,.0f} million",
        "Context": units.counted(summary.context_length, "token"),
        "File": units.memory(summary.bytes),
        "Weights": f"{', '.join(summary.encodings)}, {summary.bits_per_weight:.1f} bits each",
        "Chat template": "in the file" if summary.has_template else "none: messages are joined as they are",
        "Licence": summary.licence or "not named in the file",
        "On disk, at most": units.memory(summary.needed_bytes),
    }
    with st.container(border=True):
        show_facts(facts)
        show_expected(looked.weights)
        job.follow()
        chosen = st.text_input("Name", value=name, key=f"add-name-{path}")
        try:
            check_model_name(chosen, models_dir)
        except GearboxError as error:
            show_error(error)
            return
        if job.start_button("Add", key="add-start", icon=":material/add:"):
            job.start(own.adding(path, chosen, models_dir))
