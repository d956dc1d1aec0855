"""The autopilot on the Experiments page: limits in, what it found out, and the ways to use that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from app.background.jobs import JobCancelled
from app.experiments.autopilot.running import keep_plan, run_autopilot
from app.store import RunStore
from engine.types import Precision
from tests.app.experiments.autopilot.test_course import clock, plan
from tests.support.experiments import AnsweringEngine, Told, configuration
from tests.support.ui import open_app, texts

PAGE = "pages/experiments.py"


def opened(monkeypatch: pytest.MonkeyPatch, store: RunStore, **given: object) -> AppTest:
    """The page of an autopilot that came to its end."""
    id = keep_plan(store, plan(**given))
    run_autopilot(AnsweringEngine(), store, id, Told(), clock=clock())
    return open_app(monkeypatch, store, PAGE, {"autopilot": id})


def test_what_it_chose_comes_first_with_its_evidence_and_its_way(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    app = opened(monkeypatch, store)
    shown = texts(app, "success", "info", "error", "markdown")
    assert "keeps all limits on" in shown
    assert "held-out prompts" in shown
    assert "Latency" in shown
    (chart,) = app.get("plotly_chart")
    assert chart.proto.alt == "Quality against latency"
    assert len(app.dataframe[0].value) == 2, "rounds"
    assert {button.label for button in app.button} >= {"Use in Playground", "Use in Chat", "Save as configuration"}


def test_saved_it_is_a_configuration(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = opened(monkeypatch, store)
    app.button(key="autopilot-use-saved").click().run()
    assert not app.exception
    (saved,) = store.configurations.everybodys()
    assert saved.config["model"] == "small"


def test_where_none_will_do_the_limit_is_named_and_nothing_can_be_used(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    app = opened(monkeypatch, store, goal=replace(plan().goal, seconds=1e-6))
    assert "In the way is latency" in app.warning[0].value
    assert "autopilot-use-saved" not in {button.key for button in app.button}


def test_one_that_was_not_begun_can_be(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    id = keep_plan(store, plan())
    app = open_app(monkeypatch, store, PAGE, {"autopilot": id})
    assert app.button(key="autopilot-go-on").label == "Start"
    assert "Results appear here" in app.info[0].value


def test_nobody_is_called_dropped_before_a_round_is_over(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    third = configuration("nf4", Precision.NF4)  # measured after the first two
    id = keep_plan(store, plan(candidates=(*plan().candidates, third)))

    class Until(Told):
        def at(self, stage: str) -> None:
            if len(store.autopilots.heats(id)) > 1:
                raise JobCancelled

    with pytest.raises(JobCancelled):
        run_autopilot(AnsweringEngine(), store, id, Until(), clock=clock())
    app = open_app(monkeypatch, store, PAGE, {"autopilot": id})
    (chart,) = app.get("plotly_chart")
    assert "Baseline" in chart.proto.spec
    assert "Dropped" not in chart.proto.spec
    assert "Rounds" not in texts(app, "subheader")


def test_the_list_has_it_and_leaves_its_experiments_out(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    id = keep_plan(store, plan())
    run_autopilot(AnsweringEngine(), store, id, Told(), clock=clock())
    app = open_app(monkeypatch, store, PAGE)
    assert len(app.dataframe) == 1
    assert id in app.dataframe[0].value["open"][0]


def test_one_that_is_gone_is_told_of(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE, {"autopilot": "gone"})
    assert "no such autopilot any more" in app.error[0].value


def test_markdown_in_names_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    made = plan()
    evil = replace(made.baseline, name="![x](http://evil/) <b>16 bits</b>")
    app = opened(monkeypatch, store, baseline=evil, candidates=(), name="[click](http://evil/)")
    said = texts(app, "success", "info", "error", "subheader", "markdown")
    assert "![x](" not in said
    assert "[click](" not in said
    assert "16 bits" in said
