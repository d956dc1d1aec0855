"""One model of the library: what it is, where it stands, and the buttons that bring it here."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from app import units
from app.jobs import Jobs
from app.literal import literal
from app.views.shared.background_job import show_progress
from app.views.shared.errors import show_error
from engine import ModelInfo, install_model


def job_key(name: str) -> str:
    """The background job that installs a model."""
    return f"install {name}"


def show_model(model: ModelInfo, models_dir: Path, jobs: Jobs) -> None:
    """Draw one model. A button that starts or ends work runs the page again."""
    job = jobs.state(job_key(model.name))
    installing = job is not None and job.running
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(literal(model.title), anchor=False, width="content")
            _status_badge(model, installing)
        st.caption(literal(model.purpose if model.title == model.name else f"{model.name} · {model.purpose}"))
        _facts(model)
        if model.problem:
            show_error(model.problem)
        if job and job.running:
            show_progress(job, jobs, job_key(model.name))
        elif model.in_catalog:
            if job and job.error:
                show_error(job.error)
            _install_button(model, models_dir, jobs)


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
    with st.container(horizontal=True, gap="medium"):
        for label, value in facts.items():
            st.markdown(f":small[:gray[{label}]]  \n{literal(value)}", width="content")
    st.markdown(
        f":small[:gray[Weights]]  \n{literal(model.provenance[:1].upper() + model.provenance[1:])}",
        help="Quality is compared with these weights in 16 bits, so what an earlier quantization cost does not show."
        if model.in_catalog
        else None,
    )


def _install_button(model: ModelInfo, models_dir: Path, jobs: Jobs) -> None:
    here = model.installed or model.problem is not None
    if st.button(
        "Reinstall" if here else "Install",
        icon=":material/refresh:" if here else ":material/download:",
        type="secondary" if here else "primary",
        key=f"install-{model.name}",
        help="Checks the published file, fetches it again if it was altered, and converts it again." if here else None,
    ):
        jobs.submit(job_key(model.name), partial(install_model, model.name, models_dir, reinstall=here))
        st.rerun()
