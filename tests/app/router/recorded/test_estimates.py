"""How long a recording takes, by what was measured before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.quantization.tasks import tasks_sha256
from app.router.recorded.estimates import Estimate, Pace, measured_paces, recording_estimate
from app.router.recorded.timing import FEW, TIMED_ALONE
from app.store import RunStore, estimated_from
from engine.evaluation.tasks import Task
from engine.types import Precision
from tests.support.cascade import answer
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run

TASK = Task(id="t", category="c", prompt="x" * 304, max_tokens=100)
PACE = Pace(prefill_s=0.01, step_s=0.1, share=0.5, source="recordings", sooner=2.0)


def test_an_estimate_adds_up_prefill_and_steps() -> None:
    assert PACE.seconds(TASK) == pytest.approx(0.01 * (76 + 24) + 0.1 * 0.5 * 100)
    assert recording_estimate({"a": [TASK] * 3, "b": []}, {"a": PACE}) == Estimate(pytest.approx(18.0), ())


def test_of_many_answers_some_are_timed_alone_and_the_rest_come_sooner() -> None:
    each_s = PACE.seconds(TASK)
    many = recording_estimate({"a": [TASK] * 40}, {"a": PACE})
    assert many.seconds == pytest.approx(each_s * (TIMED_ALONE + (40 - TIMED_ALONE) / 2))
    assert recording_estimate({"a": [TASK] * FEW}, {"a": PACE}).seconds == pytest.approx(each_s * FEW)


def test_how_much_sooner_answers_come_together_is_told_by_those_that_did(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    tasks = tuple(replace(TASK, id=f"t{n}") for n in range(30))
    store.router.keep_set(tasks_sha256(tasks), "Own", tasks)

    def sooner_with(answers: int) -> float:
        for n, task in enumerate(tasks[:answers]):
            pause = timedelta(hours=5) if n >= 20 else timedelta()  # it was cancelled, and went on later
            at = begun + pause + timedelta(seconds=n / 4)
            monkeypatch.setattr("app.store.router.answers.now", lambda at=at: at)
            given = answer(e2e_s=1.0, ttft_s=0.25)
            store.router.keep_answer(tasks_sha256(tasks), task.id, "small@int8", "w", given, estimated_from(8))
        return measured_paces(store.router, store, ["small@int8"], lambda _: True, 2.0)["small@int8"].sooner

    assert sooner_with(10) == 2.0, "too few to tell"
    assert sooner_with(30) == pytest.approx(4.0)


def test_what_was_never_measured_is_said() -> None:
    assert recording_estimate({"a": [TASK], "b": [TASK]}, {"a": PACE}) == Estimate(pytest.approx(6.0), ("b",))
    assert recording_estimate({"b": [TASK]}, {}) == Estimate(None, ("b",))
    assert recording_estimate({"a": [], "b": []}, {}) == Estimate(0, ())


def test_recordings_of_this_machine_alone_tell_the_pace(store: RunStore) -> None:
    tasks = tuple(replace(TASK, id=f"t{n}", max_tokens=6) for n in range(4))
    identity = tasks_sha256(tasks)
    store.router.keep_set(identity, "Own", tasks)
    for task, cpu in zip(tasks, ("here", "here", "there", "there"), strict=True):
        given = answer(e2e_s=1.25 if cpu == "here" else 99.0, ttft_s=0.25)
        store.router.keep_answer(identity, task.id, "small@int8", "w", given, {"cpu": cpu})
    tiers = ["small@int8", "large@int8"]
    for wanted, share in ((identity, 0.5), ("f" * 64, 0.6)):  # other prompts' answers say nothing of these ones' length
        paces = measured_paces(store.router, store, tiers, lambda found: found.get("cpu") == "here", 3.0, wanted)
        assert paces == {
            "small@int8": Pace(
                prefill_s=pytest.approx(0.25 / 7),
                step_s=pytest.approx(0.5),
                share=pytest.approx(share),
                source="recordings",
                sooner=3.0,
            )
        }


def test_without_recordings_runs_tell_the_pace(store: RunStore) -> None:
    request = make_request(model="small", precision=Precision.INT8)
    add_run(store, request, metrics=make_metrics(completion_tokens=11))
    paces = measured_paces(store.router, store, ["small@int8"], lambda _: True, 2.0)
    metrics = make_metrics(completion_tokens=11)
    assert paces["small@int8"].source == "runs"
    assert paces["small@int8"].step_s == pytest.approx(metrics.tpot_s)
    assert measured_paces(store.router, store, ["small@int8"], lambda _: False, 2.0) == {}
