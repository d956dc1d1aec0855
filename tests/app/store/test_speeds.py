"""How models answered here, as the costs are reckoned from it."""

from __future__ import annotations

from dataclasses import replace

from app.store import AnswerSpeed, RunStatus, RunStore
from engine.types import Disturbance, Precision, RunMetrics
from tests.support.cascading import CASCADE, make_cascade_report
from tests.support.fakes import make_metrics, make_request
from tests.support.ui import add_run


def metrics(e2e_s: float, *, queue_s: float = 0.0, tokens: int = 10, batch: float | None = None) -> RunMetrics:
    found = make_metrics(e2e_s=e2e_s + queue_s, completion_tokens=tokens, prompt_tokens=20)
    return replace(found, queue_s=queue_s, mean_batch_size=batch)


def test_medians_are_of_runs_alone_and_in_company_apart(store: RunStore) -> None:
    for e2e_s in (1.0, 2.0, 9.0):
        add_run(store, metrics=metrics(e2e_s, queue_s=5.0))
    add_run(store, metrics=metrics(4.0, batch=6.0))
    add_run(store, make_request(precision=Precision.INT4), metrics=metrics(0.5, batch=1.0))
    add_run(store, make_request(precision=Precision.INT4), metrics=metrics(0.5))
    alone, packed, together = store.answer_speeds(store.host)
    assert alone == AnswerSpeed(
        model="smollm2-135m",
        precision="bf16",
        runs=3,
        prompt_tokens=20,
        completion_tokens=10,
        e2e_s=2.0,
        mean_batch_size=1.0,
    )
    assert (packed.precision, packed.runs, packed.mean_batch_size) == ("int4", 2, 1.0)
    assert (together.precision, together.runs, together.mean_batch_size, together.e2e_s) == ("bf16", 1, 6.0, 4.0)


def test_what_says_nothing_of_a_models_speed_is_left_out(store: RunStore) -> None:
    add_run(store, metrics=metrics(1.0), status=RunStatus.STOPPED)
    add_run(store, metrics=metrics(1.0), disturbance=Disturbance(seconds=1.0, cores=2, threads=2, programs_s=2.0))
    add_run(store, metrics=metrics(1.0, tokens=1))
    add_run(store, make_request(cascade=CASCADE), metrics=metrics(1.0), cascade=make_cascade_report())
    add_run(store, error="No.", status=RunStatus.FAILED)
    assert store.answer_speeds(store.host) == ()
    add_run(store, metrics=metrics(1.0))
    assert store.answer_speeds("another machine") == ()
    assert len(store.answer_speeds(store.host)) == 1
