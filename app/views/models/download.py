"""Downloads from the hub: the button that begins one, how far it is, and those that were not finished."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import streamlit as st

from app import resources, units
from app.literal import literal
from app.models.hub import download_key
from app.views.shared.background_job import BackgroundJob
from app.views.shared.desk import may_administer, show_read_only
from app.views.shared.errors import errors_shown, show_error
from engine import Plan, check_model_name, discard, free_model_name, room_for, unfinished_downloads
from engine.errors import GearboxError


def download_job(plan: Plan) -> BackgroundJob:
    """The background job of a download."""
    return BackgroundJob(
        download_key(plan),
        when_cancelled="What is here is kept, and the download goes on from there.",
        title=f"Downloading {plan.name}",
        pauses=True,
    )


def show_download(plan_for: Callable[[str], Plan], name: str, models_dir: Path, listed: Collection[str]) -> None:
    """What a download takes of the disk, the name that the model gets, and the button; or how far it is.

    Args:
        plan_for: gives what is downloaded for a model of a name.
        name: what it is called unless somebody says otherwise.
        models_dir: where it goes.
        listed: the models that are shown above: the page is drawn again for one that is here since.
    """
    job, hub = download_job(plan_for(name)), resources.get_hub_models()
    unfinished = {each.plan.key for each in unfinished_downloads(models_dir)}
    if plan_for(name).key in unfinished:
        st.caption("It stands under Downloads above.")
        return
    if (here := hub.added(plan_for(name))) is not None:
        if here not in listed:
            st.rerun()
        st.success(f"Here as {literal(here)}: it can be chosen wherever a model is.", icon=":material/check:")
        return
    job.follow()
    if job.running:
        return
    if not may_administer():
        show_read_only("what is downloaded")
        return
    chosen = st.text_input("Name", value=free_model_name(name, models_dir), key=f"hub-name-{name}")
    try:
        check_model_name(chosen, models_dir)
    except GearboxError as error:
        show_error(error)
        return
    plan = plan_for(chosen)
    models_dir.mkdir(parents=True, exist_ok=True)
    needed, free = room_for(plan, models_dir), shutil.disk_usage(models_dir).free
    st.caption(f"Takes {units.memory(needed)} of the disk at most; {units.memory(free)} are free.")
    why_not = "The disk has too little room for it." if needed > free else ""
    if job.start_button("Download", key="hub-download", icon=":material/download:", why_not=why_not):
        download_job(plan).start(hub.downloading(plan))


def show_unfinished(models_dir: Path) -> None:
    """Downloads that were paused, failed, or ended with the server; nothing where there are none. Whoever may change
    what all have can go on with one, or discard it."""
    unfinished = unfinished_downloads(models_dir)
    if not unfinished:
        return
    st.subheader("Downloads", anchor=False)
    may_change = may_administer()
    if not may_change:
        show_read_only("downloads")
    for each in unfinished:
        plan, job = each.plan, download_job(each.plan)
        with st.container(border=True):
            st.markdown(f"**{literal(plan.title)}** as {literal(plan.name)}")
            if job.running:
                job.follow()
                continue
            st.caption(f"{units.memory(each.arrived_bytes)} of {units.memory(plan.total_bytes)} are here.")
            job.follow()
            if not may_change:
                continue
            with st.container(horizontal=True, vertical_alignment="bottom"):
                chosen, why_not = _choose_name(plan, models_dir)
                if job.start_button(
                    "Resume", key=f"hub-resume-{plan.key}", icon=":material/play_arrow:", why_not=why_not
                ):
                    download_job(chosen).start(resources.get_hub_models().downloading(chosen))
                if st.button("Discard", key=f"hub-discard-{plan.key}", icon=":material/delete:"):
                    with errors_shown():
                        discard(plan, models_dir)
                        st.rerun()


def _choose_name(plan: Plan, models_dir: Path) -> tuple[Plan, str]:
    """The download under the name that the model is to get, which another may have taken meanwhile; and why it
    cannot be begun, if that name cannot be used."""
    free = free_model_name(plan.name, models_dir)
    chosen = replace(plan, name=st.text_input("Name", value=free, key=f"hub-resume-name-{plan.key}"))
    try:
        check_model_name(chosen.name, models_dir)
    except GearboxError as error:
        show_error(error)
        return chosen, "Choose another name first."
    return chosen, ""
