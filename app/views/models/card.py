"""One model of the library: what it is, where it stands, and the buttons that bring it here."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from app import units
from app.literal import literal
from app.views.models.facts import show_facts
from app.views.models.remove import confirm_removal, removal_job
from app.views.shared.background_job import BackgroundJob
from app.views.shared.desk import may_administer
from app.views.shared.errors import show_error
from engine import ModelInfo, install_model


def install_job(name: str) -> BackgroundJob:
    """The background job that installs a model."""
    return BackgroundJob(f"install {name}", title=f"Installing {name}")


def show_model(model: ModelInfo, models_dir: Path) -> None:
    """Draw one model. A button that starts or ends work runs the page again."""
    job = install_job(model.name)
    state = job.state
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(literal(model.title), anchor=False, width="content")
            _status_badge(model, job.running)
        st.caption(literal(model.purpose if model.title == model.name else f"{model.name} · {model.purpose}"))
        _facts(model)
        if model.problem:
            show_error(model.problem)
        removal = removal_job(model.name)
        if state and state.running:
            job.show_progress(state)
        elif removal.running:
            removal.follow()
        else:
            if state and state.error:
                show_error(state.error)
            removal.follow()
            with st.container(horizontal=True):
                if model.in_catalog:
                    _install_button(model, models_dir, job)
                if model.disk_bytes:
                    _remove_button(model, models_dir)


def _remove_button(model: ModelInfo, models_dir: Path) -> None:
    """For whoever may change what all have."""
    if may_administer() and st.button("Remove", icon=":material/delete:", key=f"remove-{model.name}"):
        confirm_removal(model, models_dir)


def _status_badge(model: ModelInfo, installing: bool) -> None:
    if installing:
        st.badge("Installing", icon=":material/downloading:", color="blue")
    elif model.problem:
        st.badge("Cannot be run", icon=":material/error:", color="red")
    elif model.installed:
        st.badge("Installed", icon=":material/check:", color="green")
    else:
        st.badge("Not installed", icon=":material/cloud_download:", color="gray")


def _facts(model: ModelInfo) -> None:
    facts = {
        "Parameters": f"{model.parameters / 1e6:,.0f} million" if model.parameters else units.MISSING,
        "Context": units.counted(model.context_length, "token") if model.context_length else units.MISSING,
        "Family": model.family or units.MISSING,
        "On disk": units.memory(model.disk_bytes) if model.disk_bytes else units.MISSING,
        "Download": units.memory(model.download_bytes),
        "Licence": model.licence or units.MISSING,
    }
    show_facts(facts)
    st.markdown(
        f":small[:gray[Weights]]  \n{literal(model.provenance[:1].upper() + model.provenance[1:])}",
        help="Quality is compared with these weights in 16 bits, so what an earlier quantization cost does not show."
        if model.quantized_before
        else None,
    )


def _install_button(model: ModelInfo, models_dir: Path, job: BackgroundJob) -> None:
    here = model.installed or model.problem is not None
    if job.start_button(
        "Reinstall" if here else "Install",
        icon=":material/refresh:" if here else ":material/download:",
        main=not here,
        key=f"install-{model.name}",
        help="Checks the published file, fetches it again if it was altered, and converts it again." if here else None,
    ):
        job.start(partial(install_model, model.name, models_dir, reinstall=here))
