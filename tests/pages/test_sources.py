"""Lists and figures leave the labs' runs out until somebody asks for them, and say so."""

from __future__ import annotations

import pytest

from app.literal import literal
from app.store import RunOutcome, RunSource, RunStatus, RunStore
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run, open_app, texts

RUNS, OPERATIONS, COMPARE = "pages/runs.py", "pages/operations.py", "pages/compare.py"


@pytest.fixture(autouse=True)
def runs(store: RunStore) -> None:
    add_run(store, make_request("a person's"), metrics=make_metrics(tpot_s=0.04))
    add_run(store, make_request("a chat's"), metrics=make_metrics(tpot_s=0.04), source=RunSource.CHAT)
    for _ in range(3):
        add_run(store, make_request("a lab's"), metrics=make_metrics(tpot_s=0.13), source=RunSource.LAB)


def test_the_list_says_that_it_leaves_labs_out_and_one_click_shows_them(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    app = open_app(monkeypatch, store, RUNS)
    chosen = app.segmented_control(key="source")
    assert (chosen.value, chosen.options[:2]) == ("without-labs", ["Without labs and experiments", "All"])
    assert list(app.dataframe[0].value["source"]) == ["Chat", "Playground"]
    app.segmented_control(key="source").set_value("all").run()
    assert list(app.dataframe[0].value["source"]) == ["Labs"] * 3 + ["Chat", "Playground"]
    app.segmented_control(key="source").set_value("chat").run()
    assert list(app.dataframe[0].value["prompt"]) == ["a chat's"]


def test_an_address_carries_the_choice(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, RUNS, {"source": "Labs"})
    assert set(app.dataframe[0].value["prompt"]) == {"a lab's"}


def test_an_address_of_a_source_without_runs_falls_back(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, RUNS, {"source": "API"})
    assert len(app.dataframe[0].value) == 2


def test_no_lab_drags_the_figures_of_operations(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, OPERATIONS, {"figures": "Configurations"})
    shown = {metric.label: metric.value for metric in app.metric}
    assert (shown["Runs"], shown["TPOT p50"]) == ("2", "40.0 ms")
    assert app.dataframe[0].value["rate"][0] == pytest.approx(25)
    app.segmented_control(key="ops-source").set_value("all").run()
    shown = {metric.label: metric.value for metric in app.metric}
    assert (shown["Runs"], shown["TPOT p50"]) == ("5", "130 ms")


def test_the_picker_of_compare_offers_no_lab_until_asked(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, COMPARE)
    assert len(app.multiselect(key="compare-picker").options) == 2
    app.segmented_control(key="compare-source").set_value("all").run()
    assert len(app.multiselect(key="compare-picker").options) == 5


def test_the_choice_lasts_while_other_pages_are_looked_at(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, RUNS)
    app.segmented_control(key="source").set_value("lab").run()
    app.query_params.clear()  # as the menu's links have none
    app.switch_page(OPERATIONS).run()
    assert {metric.label: metric.value for metric in app.metric}["Runs"] == "2"
    app.query_params.clear()
    app.switch_page(RUNS).run()
    assert set(app.dataframe[0].value["source"]) == {"Labs"}


def test_a_run_of_the_api_says_for_whom_it_was_and_what_its_caller_noted(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    run_id = store.create_run(
        make_request("a client's"),
        person_id=None,
        environment={},
        source=RunSource.API,
        user="*anna*",
        metadata={"ticket": "_42_"},
    )
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "x", "stop", metrics=make_metrics()))
    app = open_app(monkeypatch, store, RUNS, {"run": run_id})
    shown = texts(app, "caption")
    assert "API" in shown
    assert literal("*anna*") in shown
    app.segmented_control(key=f"section-{run_id}").set_value("Configuration").run()
    assert literal("_42_") in str(app.table[-1].value)
