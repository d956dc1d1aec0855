"""The button of a background job: what it is called, when it can be pressed, and what it says when it cannot."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from app.background.jobs import Jobs, Report
from engine.errors import GearboxError
from tests.support.ui import settle


def page() -> None:
    import streamlit as st

    from app.views.shared.background_job import BackgroundJob

    job = BackgroundJob(st.session_state.get("job-key", "work"), "Begin again.")
    if job.start_button("Measure", key="start", help="All of it.", **st.session_state["button"]):
        job.start(st.session_state["work"])
    job.follow()


@pytest.fixture
def open_page(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A page with one button, and the work behind it."""
    monkeypatch.setattr(resources, "get_jobs", lambda: jobs)

    def opened(work: Any = lambda report: None, **button: Any) -> AppTest:
        app = AppTest.from_function(page, default_timeout=60)
        app.session_state["work"], app.session_state["button"] = work, button
        app.run()
        assert not app.exception
        return app

    return opened


@pytest.mark.parametrize(
    ("known", "label"),
    [({}, "Measure"), ({"begun": True}, "Resume"), ({"begun": True, "again": True}, "Measure again")],
)
def test_the_button_says_what_was_done_before(open_page: Any, known: dict[str, bool], label: str) -> None:
    button = open_page(**known).button(key="start")
    assert (button.label, button.disabled, button.help) == (label, False, "All of it.")


def test_work_that_cannot_start_says_why(open_page: Any) -> None:
    button = open_page(why_not="Choose a precision.").button(key="start")
    assert (button.disabled, button.help) == (True, "Choose a precision.")


def test_while_it_runs_the_page_shows_how_far_and_how_to_end_it(open_page: Any, jobs: Jobs) -> None:
    reached, gate = threading.Event(), threading.Event()

    def work(report: Report) -> None:
        report("Reads", 0.25)
        reached.set()
        gate.wait(20)
        report("Writes", 0.5)

    app = open_page(work)
    app.button(key="start").click().run()
    assert reached.wait(20)
    app.run()
    assert app.button(key="start").disabled
    assert "runs already" in app.button(key="start").help
    assert app.get("progress")[0].proto.text.startswith("Reads, 25 %")
    app.button(key="cancel-work").click().run()
    gate.set()
    settle(app, jobs)
    assert [info.value for info in app.info] == ["Cancelled. Begin again."]
    assert not app.button(key="start").disabled


def test_work_that_can_be_gone_on_with_is_paused(open_page: Any, jobs: Jobs) -> None:
    reached, gate = threading.Event(), threading.Event()

    def work(report: Report) -> None:
        report("Reads", 0.25)
        reached.set()
        gate.wait(20)
        report("Writes", 0.5)

    assert jobs.submit("work", work, pauses=True)
    assert reached.wait(20)
    app = open_page()
    button = app.button(key="cancel-work")
    assert button.label == "Pause"
    button.click().run()
    app.run()
    assert app.get("progress")[0].proto.text == "Pausing: it ends within a few seconds"
    gate.set()
    settle(app, jobs)
    assert [info.value for info in app.info] == ["Paused. Begin again."]


def test_a_failure_is_told_beside_the_button(open_page: Any, jobs: Jobs) -> None:
    def work(report: Report) -> None:
        raise GearboxError("The memory is full.")

    app = open_page(work)
    app.button(key="start").click().run()
    settle(app, jobs)
    assert [error.value for error in app.error] == ["The memory is full."]
    assert not app.button(key="start").disabled


def test_a_job_that_says_nothing_of_itself_is_told_of_by_its_key_without_hashes(open_page: Any, jobs: Jobs) -> None:
    app = open_page(lambda report: None)
    app.session_state["job-key"] = f"recording Qwen {'0a' * 32}"
    app.button(key="start").click().run()
    settle(app, jobs)
    assert [job.title for job in jobs.told()] == ["Recording Qwen"]


def test_a_job_leads_back_to_where_it_was_started_for_whoever_started_it(open_page: Any, jobs: Jobs) -> None:
    app = open_page(lambda report: None)
    app.session_state["address-page"], app.query_params["section"] = "a-lab", "On tasks"
    app.session_state["tab-id"] = "somebody"
    app.button(key="start").click().run()
    settle(app, jobs)
    (job,) = jobs.told()
    assert (job.title, job.page, job.owner) == ("Work", "a-lab?section=On+tasks", "somebody")
