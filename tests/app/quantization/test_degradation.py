"""The degradation alarm: when it is raised, what it says, and where it is seen."""

from __future__ import annotations

import math

import pytest

from app.quantization.corpus import measure_corpus
from app.quantization.degradation import Alarms, judge_divergence
from app.store import AlarmLimits, RunOutcome, RunStatus, RunStore
from engine import Corpus
from engine.types import CPU_PRECISIONS, Precision
from tests.support.fakes import FakeLabEngine, make_metrics, make_request
from tests.support.jobs import ignore
from tests.support.ui import open_app, texts

LIMITS = AlarmLimits()
MODEL = "smollm2-135m"
SEA = Corpus(name="Sea", text="The sea, the sea.")


@pytest.fixture
def degraded(store: RunStore) -> RunStore:
    """A store whose lab found int4 beyond the limits, and nf4 within them."""
    engine = FakeLabEngine(klds={"int4": 0.3, "nf4": 0.01})
    measure_corpus(engine, store.lab, MODEL, CPU_PRECISIONS, SEA, ignore)
    return store


def add_run(store: RunStore, precision: Precision, weights_sha256: str) -> str:
    run_id = store.create_run(make_request(precision=precision), person_id="s", environment={})
    environment = {"weights_sha256": weights_sha256}
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "Blue.", "stop", None, None, make_metrics(), environment))
    return run_id


@pytest.mark.parametrize(
    ("kld_mean", "same_top", "reasons"),
    [
        (0.15, 0.85, 0),
        (0.151, 0.85, 1),
        (0.15, 0.849, 1),
        (2.0, 0.1, 2),
        (math.nan, 0.9, 1),
        (math.inf, 0.9, 1),
    ],
)
def test_the_limits_themselves_are_allowed(kld_mean: float, same_top: float, reasons: int) -> None:
    alarm = judge_divergence(kld_mean, same_top, LIMITS, measured_on="Sea")
    assert (0 if alarm is None else len(alarm.reasons)) == reasons


def test_the_alarm_says_what_is_beyond_which_limit_and_on_what() -> None:
    alarm = judge_divergence(0.25, 0.7, LIMITS, measured_on="Sea")
    assert str(alarm) == (
        "Degradation alarm: KLD mean 0.25 nats (limit 0.15), top-1 agreement 70.0 % (limit 85 %), measured on Sea."
    )


def test_an_alarm_is_found_by_model_and_by_the_weights_of_a_run(degraded: RunStore) -> None:
    alarms = Alarms.read(degraded.lab)
    known = {"weights_sha256": FakeLabEngine.WEIGHTS}
    assert alarms.of_model(MODEL, "local", "int4")
    assert alarms.of_run(known, "local", "int4")
    for nothing in (
        alarms.of_model(MODEL, "local", "nf4"),
        alarms.of_model(MODEL, "local", "bf16"),
        alarms.of_model(MODEL, "reference", "int4"),
        alarms.of_model("another", "local", "int4"),
        alarms.of_run({"weights_sha256": "other weights"}, "local", "int4"),
        alarms.of_run({}, "local", "int4"),
    ):
        assert nothing is None


def test_the_worst_corpus_speaks(degraded: RunStore) -> None:
    worse = FakeLabEngine(klds={"int4": 0.9})
    storm = Corpus(name="Storm", text="A storm.")
    measure_corpus(worse, degraded.lab, MODEL, [Precision.INT4], storm, ignore)
    alarm = Alarms.read(degraded.lab).of_model(MODEL, "local", "int4")
    assert alarm is not None
    assert alarm.measured_on == "Storm"


def test_wider_limits_silence_it(degraded: RunStore) -> None:
    degraded.lab.set_limits(AlarmLimits(kld_mean=1.0, same_top=0.0))
    assert Alarms.read(degraded.lab).by_weights == {}


def test_a_run_that_used_the_precision_shows_it(monkeypatch: pytest.MonkeyPatch, degraded: RunStore) -> None:
    marked = add_run(degraded, Precision.INT4, FakeLabEngine.WEIGHTS)
    other = add_run(degraded, Precision.INT4, "other weights")
    app = open_app(monkeypatch, degraded, "pages/runs.py", {"run": marked})
    assert "Degradation alarm: KLD mean 0.3 nats" in texts(app, "warning")
    assert not open_app(monkeypatch, degraded, "pages/runs.py", {"run": other}).warning


def test_comparing_shows_whose_it_is(monkeypatch: pytest.MonkeyPatch, degraded: RunStore) -> None:
    ids = [add_run(degraded, precision, FakeLabEngine.WEIGHTS) for precision in (Precision.NF4, Precision.INT4)]
    app = open_app(monkeypatch, degraded, "pages/compare.py", {"compare": ",".join(ids)})
    (warning,) = app.warning
    assert warning.value.startswith("B · smollm2-135m · int4: Degradation alarm")


def test_the_playgrounds_gear_and_lane_show_it(monkeypatch: pytest.MonkeyPatch, degraded: RunStore) -> None:
    app = open_app(monkeypatch, degraded, "pages/playground.py")
    (in_gear,) = app.warning
    assert "KLD mean 0.3 nats" in in_gear.value
    app.button(key="playground-run").click().run()
    assert not app.exception
    assert len(app.warning) == 2  # the lane that ran, and its gear, set as it was
    app.segmented_control(key="lane-b-precision").set_value(Precision.NF4).run()
    assert len(app.warning) == 1
