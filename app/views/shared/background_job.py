"""A background job as pages show it: the button that starts it, how far it is, the way to end it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app import resources
from app.background.jobs import JobState, Work
from app.session import address
from app.session.identity import person_id
from app.views.shared.errors import errors_shown, show_error
from app.views.shared.progress import end_button, ending_words, is_of_viewer, progress_words, show_bar

_REFRESH_EVERY = "1s"
_HASH = re.compile(r"\s*\b[0-9a-f]{32,}\b")


@dataclass(frozen=True, slots=True)
class BackgroundJob:
    """The last job of a key, or the one that there may be."""

    key: str
    when_cancelled: str = "What was done so far is kept, and the work goes on from there."
    """What to tell of it once it was cancelled, or paused."""
    title: str = ""
    """What it is for, as its owner reads it on every page: "Measuring int4 · smollm2-135m". By default its key, without
    the hashes in it."""
    page: str = ""
    """The address of the page with its results: "router-lab?step=record". By default that of the page on which
    it is started."""
    pauses: bool = False
    """Whether to stop it is to pause it."""

    @property
    def state(self) -> JobState | None:
        """How it stands; ``None`` if there was none."""
        return resources.get_jobs().state(self.key)

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.state is not None and self.state.running

    def start_button(
        self,
        label: str,
        *,
        key: str,
        begun: bool = False,
        again: bool = False,
        why_not: str = "",
        help: str | None = None,
        icon: str = ":material/play_arrow:",
        main: bool = True,
        in_form: bool = False,
    ) -> bool:
        """The button; says whether it was pressed and the work can be started.

        Args:
            label: what it does, where nothing was done yet.
            key: the widget's.
            begun: a part was done before, from which the work goes on.
            again: all was done before.
            why_not: why the work cannot be started now, for the user. A job that runs is a reason of its own.
            help: what it does, more fully.
            icon: before the label.
            main: whether it is what one would do next here, unless all was done before.
            in_form: it submits the form that it stands in.
        """
        reason = "It runs already; how far it is stands below." if self.running else why_not
        draw = st.form_submit_button if in_form else st.button
        pressed = draw(
            f"{label} again" if again else "Resume" if begun else label,
            key=key,
            type="primary" if main and not again else "secondary",
            icon=":material/refresh:" if again else icon,
            disabled=bool(reason),
            help=reason or help,
        )
        return pressed and not reason

    def start(self, work: Work) -> None:
        """Start the work unless it runs already, and draw the page again."""
        named = _HASH.sub("", self.key)
        title = self.title or named[:1].upper() + named[1:]
        page = self.page or address.here()
        resources.get_jobs().submit(self.key, work, title=title, owner=person_id(), page=page, pauses=self.pauses)
        st.rerun()

    def follow(self, watch: Callable[[], object] = lambda: None) -> None:
        """How it stands, kept up to date while it runs: the page is drawn again when what ``watch`` gives changes,
        and when the job is over."""
        job = self.state
        if job is None:
            return
        if job.running:
            st.fragment(self._keep_up, run_every=_REFRESH_EVERY)(watch, watch())
        elif job.error:
            show_error(job.error)
        elif job.status == "cancelled":
            st.info(f"{'Paused' if job.pauses else 'Cancelled'}. {self.when_cancelled}", icon=":material/pause_circle:")

    def _keep_up(self, watch: Callable[[], object], seen: object) -> None:
        with errors_shown():
            job = self.state
            if job is None or not job.running or watch() != seen:
                st.rerun()
            self.show_progress(job)

    def show_progress(self, job: JobState) -> None:
        """What a running job does, its share done, the time left, and a button that cancels or pauses it."""
        show_bar(job, progress_words(job))
        known, (label, icon) = resources.get_jobs().job(self.key), end_button(job)
        if (
            known
            and is_of_viewer(known)
            and st.button(label, icon=icon, key=f"cancel-{self.key}", disabled=job.cancelling)
        ):
            resources.get_jobs().cancel(self.key)
            st.toast(f"{ending_words(job)}.")
