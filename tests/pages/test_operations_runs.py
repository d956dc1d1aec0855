"""From a figure of the Operations page to its runs, and the span that the address names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from app.store import RunOutcome, RunSource, RunStatus, RunStore
from app.store.runs import writing
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run, open_app, texts

PAGE, RUNS = "pages/operations.py", "pages/runs.py"


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def listed(app: AppTest) -> list[str]:
    return list(app.dataframe[0].value["prompt"]) if app.dataframe else []


def group(app: AppTest, name: str) -> Any:
    """The row of a table of groups that begins with this name, and its link's query."""
    for each in app.dataframe:
        table = each.value
        if "name" in table and name in list(table["name"]):
            return table[table["name"] == name].iloc[0]
    raise AssertionError(name)


def fail(store: RunStore, prompt: str, kind: str) -> None:
    run_id = store.create_run(make_request(prompt), person_id="tests", environment={}, source=RunSource.PLAYGROUND)
    store.finish_run(run_id, RunOutcome(RunStatus.FAILED, "", error="No.", error_kind=kind))


def test_every_group_leads_to_its_runs(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    hostile = "<b>m</b>&x=[y](z)"
    add_run(store, make_request("of hostile", model=hostile))
    add_run(store, make_request("chatted", model="m"), source=RunSource.CHAT)
    fail(store, "too large", "OutOfMemoryError")
    fail(store, "odd", "Other")
    app = open_app(monkeypatch, store, PAGE, {"figures": "Groups"})
    for name, prompts in (
        (hostile, ["of hostile"]),
        ("Chat", ["chatted"]),
        ("OutOfMemoryError", ["too large"]),
        ("stop", ["chatted", "of hostile"]),
    ):
        runs = open_app(monkeypatch, store, RUNS, query_of(group(app, name)["link"]))
        assert sorted(listed(runs)) == prompts, name
        assert "Only runs" in texts(runs, "caption")
    runs.button[0].click().run()
    assert len(listed(runs)) == 4, "the reader can leave"


def test_a_span_in_the_address_is_what_the_page_is_about(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
    for hours in (0, 1, 2):
        with monkeypatch.context() as patch:
            patch.setattr(writing, "now", lambda hours=hours: noon + timedelta(hours=hours))
            add_run(store, metrics=make_metrics())
    query = {"from": "2026-03-29T12:30:00+00:00", "to": "2026-03-29T14:00:00Z"}
    app = open_app(monkeypatch, store, PAGE, query)
    assert {metric.label: metric.value for metric in app.metric}["Runs"] == "1"
    app.button(key="ops-span-leave").click().run()
    assert "No run was started" in app.info[0].value
    nonsense = open_app(monkeypatch, store, PAGE, {"from": "x", "to": "2026"})
    assert not nonsense.exception


def test_runs_of_the_future_are_counted_and_said(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store)
    ahead = datetime.now(UTC) + timedelta(days=2)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "now", lambda: ahead)
        add_run(store)
    app = open_app(monkeypatch, store, PAGE)
    app.segmented_control(key="range").set_value("all").run()
    assert {metric.label: metric.value for metric in app.metric}["Runs"] == "2"
    assert "1 run began later than now" in texts(app, "markdown")


def test_the_top_says_what_is_not_well(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store)
    assert "All is well" in texts(open_app(monkeypatch, store, PAGE), "markdown")
    fail(store, "a", "OutOfMemoryError")
    shown = texts(open_app(monkeypatch, store, PAGE), "markdown")
    assert "Not well" in shown
    assert "50.0 % of the runs failed or were interrupted, most with OutOfMemoryError" in shown
