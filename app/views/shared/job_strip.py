"""The strip at the top of every page: which background jobs run, how far they are, and what came of the last one.

Where nothing runs, nothing is asked again: the part that keeps itself up to date is drawn only while something does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from app import resources
from app.background.jobs import Job
from app.literal import literal
from app.session import address
from app.session.identity import person_id
from app.views.shared.errors import errors_shown
from app.views.shared.progress import end_button, is_of_viewer, progress_words, show_bar

_REFRESH_EVERY = "2s"


def show_jobs(pages: Mapping[str, StreamlitPage]) -> None:
    """Draw it.

    Args:
        pages: the application's, by their paths.
    """
    with st.container(key="jobs"):  # always there: nothing below it moves to another place when a job begins
        if running := _running():
            st.fragment(_keep_up, run_every=_REFRESH_EVERY)(pages, [job.key for job in running])
        else:
            _show_last(pages)


def _running() -> list[Job]:
    """Those that run, but for one that was started on the very page on view: there it is followed in its place."""
    return [job for job in resources.get_jobs().told() if job.state.running and not address.is_here(job.page)]


def _keep_up(pages: Mapping[str, StreamlitPage], seen: Sequence[str]) -> None:
    with errors_shown():
        running = _running()
        if [job.key for job in running] != seen:
            st.rerun()
        for job in running:
            _show_running(job, pages)
        _show_last(pages)


def _show_running(job: Job, pages: Mapping[str, StreamlitPage]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if not is_of_viewer(job):
            show_bar(job.state, f"Somebody else's work · {progress_words(job.state, stage=False)}")
            return
        show_bar(job.state, f"{_named(job)} · {progress_words(job.state)}")
        _link(job, pages, "Open")
        label, icon = end_button(job.state)
        st.button(
            label,
            key=f"jobs-cancel-{job.key}",
            type="tertiary",
            icon=icon,
            disabled=job.state.cancelling,
            on_click=resources.get_jobs().cancel,
            args=(job.key,),
        )


def _show_last(pages: Mapping[str, StreamlitPage]) -> None:
    """The one that was over last, until it was looked at or put away, in this tab or another."""
    jobs, person = resources.get_jobs(), person_id()
    for job in jobs.news(person):
        if address.is_here(job.page):
            jobs.saw(job, person)
    # of what the server does by itself nobody is told that it is done: often it gave way, and goes on later
    worth = {"done", "failed"}
    news = (
        job
        for job in jobs.news(person)
        if job.state.status in ({"failed"} if job.by_itself else worth) and is_of_viewer(job)
    )
    last = next(news, None)
    if last is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if last.state.error:
            st.markdown(f":red[:material/error: {_named(last)} failed.] {literal(last.state.error)}", width="stretch")
        else:
            st.markdown(f":green[:material/check_circle:] {_named(last)} is done.", width="stretch")
        _link(last, pages, "Look")
        st.button(
            "Put away",
            key=f"jobs-seen-{last.key}",
            type="tertiary",
            icon=":material/close:",
            on_click=jobs.saw,
            args=(last, person),
        )


def _named(job: Job) -> str:
    if job.by_itself:
        return f"**{literal(job.title)}** (by itself)"
    whose = "" if job.owner == person_id() else " (somebody else's)"
    return f"**{literal(job.title)}**{whose}"


def _link(job: Job, pages: Mapping[str, StreamlitPage], label: str) -> None:
    path, _, query = job.page.partition("?")
    if (page := pages.get(path)) and not address.is_here(job.page):
        st.page_link(page, label=label, icon=":material/arrow_forward:", query_params=parse_qsl(query))
