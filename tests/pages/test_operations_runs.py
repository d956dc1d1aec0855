"""From a figure of the Operations page to its runs, and the span that the address names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

from app.store import RunFilter, RunOutcome, RunSource, RunStatus, RunStore
from app.store.alerts.records import Finding, Gear
from app.store.runs import writing
from app.views.runs.narrowed import runs_url
from tests.support.fakes import FakeEngine, make_metrics, make_request
from tests.support.ui import add_run, open_app, texts

PAGE, RUNS = "pages/operations.py", "pages/runs.py"


def query_of(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


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


def test_a_link_means_all_models_that_were_chosen(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    for model in ("a", "b", "c"):
        add_run(store, make_request(f"of {model}", model=model))
    app = open_app(monkeypatch, store, PAGE, {"figures": "Groups", "model": ["a", "b"]})
    runs = open_app(monkeypatch, store, RUNS, query_of(group(app, "stop")["link"]))
    assert listed(runs) == ["of b", "of a"]
    assert "of a or b" in texts(runs, "caption")


def test_a_link_leaves_out_what_the_runs_page_was_set_to(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store, make_request("old", model="a"))
    add_run(store, make_request("chatted", model="b"), source=RunSource.CHAT)
    runs = open_app(monkeypatch, store, RUNS)
    runs.text_input(key="runs-text").set_value("old").run()
    runs.segmented_control(key="source").set_value("playground").run()
    assert "set on this page before" not in texts(runs, "caption")
    runs.query_params.update(query_of(runs_url(RunFilter(models=("b",)))))
    runs.run()
    assert listed(runs) == ["chatted"]
    assert "set on this page before are left out" in texts(runs, "caption")
    runs.text_input(key="narrowed-text").set_value("nothing").run()
    assert not listed(runs)
    runs.button[0].click().run()
    assert listed(runs) == ["old"]


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


def test_an_hour_of_failures_is_not_well_whatever_span_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    earlier = datetime.now(UTC) - timedelta(hours=5)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "now", lambda: earlier)
        for _ in range(3):
            add_run(store)
    fail(store, "a", "OutOfMemoryError")
    span = {"from": (earlier - timedelta(hours=1)).isoformat(), "to": (earlier + timedelta(hours=1)).isoformat()}
    failing = "In the last hour: 100.0 % of the runs failed"
    assert failing in texts(open_app(monkeypatch, store, PAGE, span), "markdown")
    assert failing in texts(open_app(monkeypatch, store, PAGE), "markdown")


def test_what_is_wrong_now_is_said_of_a_time_without_runs_too(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store)
    engine = FakeEngine()
    status = replace(engine.cache_status(), mismatches=1)
    monkeypatch.setattr(engine, "cache_status", lambda: status)
    at = datetime.now(UTC)
    store.alerts.observe(
        Finding(
            rule="errors", holds=True, title="Many errors", words="", gear=Gear.MACHINE, runbook="", since=at, until=at
        )
    )
    app = open_app(monkeypatch, store, PAGE, {"from": "2026-03-29", "to": "2026-03-30"}, engine=engine)
    assert "No run was started" in app.info[0].value
    shown = texts(app, "markdown")
    assert "Not well" in shown
    assert "Alert: Many errors" in shown
    assert "Since the server started, reused KV gave other logits in 1 run" in shown
