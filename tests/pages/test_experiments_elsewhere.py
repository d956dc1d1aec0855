"""An experiment or an autopilot that another process goes on with, as its page shows it; and failed answers that can
be asked again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from app.background.jobs import Jobs
from app.experiments.autopilot.running import keep_plan
from app.experiments.running.starting import EXPERIMENT
from app.store import ExperimentState, RunStore, StartedFrom
from engine.errors import GearboxError
from tests.app.experiments.autopilot.test_course import plan
from tests.support.experiments import TASKS, AnsweringEngine, design, keep_design, quality, run
from tests.support.experiments_page import PAGE, install, opened, words
from tests.support.ui import open_app, settle


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch, jobs: Jobs) -> None:
    install(monkeypatch, jobs)


@contextmanager
def elsewhere(file: Path) -> Iterator[RunStore]:
    """The database as another process has it open."""
    with closing(RunStore.open(f"sqlite:///{file}")) as other:
        yield other


def bars(app: AppTest) -> list[str]:
    return [bar.proto.text for bar in app.get("progress")]


def buttons(app: AppTest) -> dict[str, str]:
    return {button.key: button.label for button in app.button if button.key}


def test_one_that_a_command_goes_on_with_runs_and_its_progress_grows(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path
) -> None:
    id = keep_design(store, design())
    with elsewhere(file) as other:
        other.experiments.begin(id, StartedFrom.COMMAND_LINE)
        other.experiments.keep_cell(id, quality(0, "sky", 1.0))
        app = opened(monkeypatch, store, id)
        assert "Running · begun" in words(app)
        assert bars(app) == ["Running, started from the command line, 8 %"]
        assert "Ctrl+C" in words(app)
        assert "experiments-go-on" not in buttons(app)
        assert app.button(key="experiments-delete").disabled
        for task in TASKS[1:]:
            other.experiments.keep_cell(id, quality(0, task.id, 1.0))
        app.run()
        assert bars(app) == ["Running, started from the command line, 25 %"]
        assert list(open_app(monkeypatch, store, PAGE).dataframe[0].value["state"]) == ["Running"]
        other.experiments.set_state(id, ExperimentState.PAUSED)
        app.run()
        assert bars(app) == []
        assert "Paused · begun" in words(app)
        assert buttons(app)["experiments-go-on"] == "Resume"


def test_begun_elsewhere_since_the_page_was_drawn_it_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path, jobs: Jobs
) -> None:
    engine, id = AnsweringEngine(), keep_design(store, design())
    app = opened(monkeypatch, store, id)
    monkeypatch.setattr(resources, "get_engine", lambda: engine)
    with elsewhere(file) as other:
        other.experiments.begin(id, StartedFrom.COMMAND_LINE)
        app.button(key="experiments-go-on").click().run()
        assert bars(app) == ["Running, started from the command line, 0 %"], "the button is gone"
        assert EXPERIMENT.start(jobs, engine, store, store.experiments.get(id))
        settle(app, jobs)
        assert "“Own” is running already, started from the command line" in app.error[0].value
        assert engine.requests == []
        assert store.experiments.get(id).state is ExperimentState.RUNNING


def test_so_it_is_with_autopilots(monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path) -> None:
    id = keep_plan(store, plan())
    with elsewhere(file) as other:
        other.autopilots.begin(id, StartedFrom.PAGE)
        app = open_app(monkeypatch, store, PAGE, {"autopilot": id})
        assert bars(app) == ["Running, started on its page of another server, 0 %"]
        assert "autopilot-go-on" not in buttons(app)
        assert app.button(key="autopilot-delete").disabled
        assert list(open_app(monkeypatch, store, PAGE).dataframe[0].value["state"]) == ["Running"]


def test_a_running_one_can_be_paused(monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs) -> None:
    engine, id = AnsweringEngine(), keep_design(store, design())
    engine.delay_s = 0.05
    app = opened(monkeypatch, store, id)
    monkeypatch.setattr(resources, "get_engine", lambda: engine)
    app.button(key="experiments-go-on").click().run()
    app.button(key=f"cancel-experiment {id}").click().run()
    settle(app, jobs)
    assert [info.value for info in app.info if "Paused" in info.value] == [
        "Paused. What is answered is kept, and it goes on from there."
    ]
    assert store.experiments.get(id).state is ExperimentState.PAUSED


def test_failed_answers_can_be_asked_again(monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs) -> None:
    engine = AnsweringEngine({TASKS[1].prompt: GearboxError("NaN.")})
    id = run(engine, store, design())
    app = opened(monkeypatch, store, id)
    assert "2 answers failed" in words(app)
    engine.refusals = {}
    monkeypatch.setattr(resources, "get_engine", lambda: engine)
    app.button(key="experiments-retry").click().run()
    settle(app, jobs)
    assert store.experiments.get(id).failed == 0
    assert "experiments-retry" not in buttons(app)
    assert "failed" not in app.caption[0].value


def test_not_those_of_a_measurement_that_an_autopilot_has_chosen_by(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    id, autopilot = keep_design(store, design()), keep_plan(store, plan())
    store.autopilots.add_heat(autopilot, id)
    failed = replace(quality(0, "sky"), failure="NaN.")
    store.experiments.keep_cell(id, failed)
    store.experiments.set_state(id, ExperimentState.DONE)
    assert "experiments-retry" not in buttons(opened(monkeypatch, store, id))
