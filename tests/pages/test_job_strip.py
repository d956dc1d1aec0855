"""The strip on every page: what runs, for whom, how far, how to end it, and what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app import resources
from app.background.jobs import Jobs, Report
from app.store import RunStore, Viewer
from app.views.shared import job_strip
from engine.errors import GearboxError
from tests.support.ui import open_app, settle, texts

TITLE = "Recording “my prompts” · tiny int4"


@dataclass
class Held:
    """Work that stands still at a fraction until it is let go."""

    error: Exception | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(self, report: Report) -> None:
        report("Prompt 3 of 12", 0.25)
        self.reached.set()
        self.gate.wait(20)
        report("Prompt 4 of 12", 0.33)
        if self.error:
            raise self.error


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, jobs: Jobs) -> Iterator[Held]:
    monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
    held = Held()
    yield held
    held.gate.set()


def start(jobs: Jobs, work: Held, **told: Any) -> None:
    page = {"title": TITLE, "owner": "me", "page": "router-lab?router-section=Data"} | told
    assert jobs.submit("recording", work, **page)
    assert work.reached.wait(20)


def look_as(monkeypatch: pytest.MonkeyPatch, person: str, *, sees_all: bool = False) -> None:
    monkeypatch.setattr(resources, "viewer", lambda: Viewer(person, sees_all))
    monkeypatch.setattr(job_strip, "person_id", lambda: person)


def bars(app: AppTest) -> list[str]:
    return [bar.proto.text for bar in app.get("progress")]


def links(app: AppTest) -> list[tuple[str, str]]:
    return [(link.proto.label, link.proto.query_string) for link in app.get("page_link")]


@pytest.mark.parametrize("page", ["pages/runs.py", "pages/models.py", "pages/chat.py"])
def test_a_job_is_told_on_every_page_with_its_way_there_and_its_end(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held, page: str
) -> None:
    look_as(monkeypatch, "me")
    start(jobs, work)
    app = open_app(monkeypatch, store, page)
    assert bars(app) == [f"**{TITLE}** · Prompt 3 of 12, 25 %"]
    assert ("Open", "router-section=Data") in links(app)
    app.button(key="jobs-cancel-recording").click().run()
    assert app.button(key="jobs-cancel-recording").disabled
    assert "Cancelling" in bars(app)[0]
    work.gate.set()
    settle(app, jobs)
    assert jobs.state("recording").status == "cancelled"  # type: ignore[union-attr]
    assert bars(app) == []


def test_where_nothing_runs_nothing_asks_again(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held
) -> None:
    asked: list[object] = []
    fragment = st.fragment

    def noted(function: Callable[..., object], **given: object) -> Any:
        asked.extend([given] if function.__module__ == job_strip.__name__ else [])
        return fragment(function, **given)

    monkeypatch.setattr(st, "fragment", noted)
    app = open_app(monkeypatch, store, "pages/runs.py")
    assert asked == []
    start(jobs, work)
    app.run()
    assert asked == [{"run_every": "2s"}]
    work.gate.set()
    settle(app, jobs)
    asked.clear()
    app.run()
    assert asked == []


def test_a_strangers_job_shows_neither_its_name_nor_a_way_to_end_it(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held
) -> None:
    look_as(monkeypatch, "another")
    start(jobs, work)
    app = open_app(monkeypatch, store, "pages/models.py")
    assert bars(app) == ["Somebody else's work · 25 %"]
    assert not [button for button in app.button if button.key == "jobs-cancel-recording"]
    assert ("Open", "router-section=Data") not in links(app)
    work.gate.set()
    settle(app, jobs)
    assert TITLE not in texts(app, "markdown")


def test_where_nobody_comes_from_outside_anybody_may_end_it(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held
) -> None:
    look_as(monkeypatch, "another", sees_all=True)
    start(jobs, work)
    app = open_app(monkeypatch, store, "pages/models.py")
    assert bars(app) == [f"**{TITLE}** (somebody else's) · Prompt 3 of 12, 25 %"]
    assert not app.button(key="jobs-cancel-recording").disabled


def test_what_the_server_does_by_itself_is_nobody_s_and_ends_without_a_word(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held
) -> None:
    look_as(monkeypatch, "me", sees_all=True)
    start(jobs, work, owner=None, by_itself=True)
    app = open_app(monkeypatch, store, "pages/models.py")
    assert bars(app) == [f"**{TITLE}** (by itself) · Prompt 3 of 12, 25 %"]
    work.gate.set()
    settle(app, jobs)
    assert TITLE not in texts(app, "markdown")


def test_several_jobs_have_a_line_each(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held
) -> None:
    start(jobs, work)
    other = Held(gate=work.gate)
    jobs.submit("installing", other, title="Installing small", page="model-library")
    assert other.reached.wait(20)
    app = open_app(monkeypatch, store, "pages/runs.py")
    assert [bar.split("**")[1] for bar in bars(app)] == [TITLE, "Installing small"]


def test_what_is_done_is_told_until_it_was_looked_at(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held
) -> None:
    look_as(monkeypatch, "me")
    start(jobs, work, page="model-library")
    app = open_app(monkeypatch, store, "pages/runs.py")
    work.gate.set()
    settle(app, jobs)
    assert f"**{TITLE}** is done." in texts(app, "markdown")
    assert ("Look", "") in links(app)
    app.switch_page("pages/models.py").run()
    assert f"**{TITLE}** is done." not in texts(app, "markdown")
    app.switch_page("pages/runs.py").run()
    assert f"**{TITLE}** is done." not in texts(app, "markdown")


def test_a_tab_that_is_opened_later_hears_no_more_of_what_was_seen_and_a_new_browser_of_nothing_old(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held
) -> None:
    look_as(monkeypatch, "me", sees_all=True)
    start(jobs, work)
    app = open_app(monkeypatch, store, "pages/runs.py")
    work.gate.set()
    settle(app, jobs)
    app.button(key="jobs-seen-recording").click().run()
    assert "is done" not in texts(open_app(monkeypatch, store, "pages/runs.py"), "markdown")
    look_as(monkeypatch, "another", sees_all=True)
    assert f"**{TITLE}** (somebody else's) is done." in texts(open_app(monkeypatch, store, "pages/runs.py"), "markdown")
    later = monotonic() + 200
    monkeypatch.setattr("app.background.jobs.monotonic", lambda: later)
    assert "is done" not in texts(open_app(monkeypatch, store, "pages/runs.py"), "markdown")


def test_what_failed_says_why_until_it_is_put_away(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held
) -> None:
    look_as(monkeypatch, "me")
    work.error = GearboxError("The disk is full. *Really.*")
    start(jobs, work)
    app = open_app(monkeypatch, store, "pages/runs.py")
    work.gate.set()
    settle(app, jobs)
    said = texts(app, "markdown")
    assert f"**{TITLE}** failed.]" in said
    assert "The disk is full. \\*Really" in said
    app.button(key="jobs-seen-recording").click().run()
    assert "failed" not in texts(app, "markdown")


def test_while_a_model_loads_the_bar_is_that_of_the_loading(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, work: Held
) -> None:
    look_as(monkeypatch, "me")
    loads, gate = threading.Event(), work.gate

    def loading(report: Report) -> None:
        report("Loading tiny in int4", 0.0, loading=0.4)
        loads.set()
        gate.wait(20)

    jobs.submit("recording", loading, title=TITLE, owner="me")
    assert loads.wait(20)
    app = open_app(monkeypatch, store, "pages/runs.py")
    assert bars(app) == [f"**{TITLE}** · Loading tiny in int4, 40 % loaded"]
    assert app.get("progress")[0].proto.value == 40
