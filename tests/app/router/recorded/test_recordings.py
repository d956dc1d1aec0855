"""Two people who record the same set at once: one job, each order done, nothing lost, nothing asked twice."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from app.background.jobs import Jobs
from app.quantization.tasks import tasks_sha256
from app.router.recorded.recordings import Order, Recordings, job_key
from app.store import RunStore, Viewer
from engine.errors import ContextLengthError, GearboxError
from engine.evaluation.tasks import Task
from engine.types import GenerationRequest, Precision, Tier
from tests.support.fakes import FakeLabEngine

TASKS = tuple(
    Task(id=f"t{n}", category="c", prompt=f"{n}?", checker="contains", expected="sky", max_tokens=8) for n in range(4)
)
SET = tasks_sha256(TASKS)
SMALL, LARGE = (Tier(model=name, precision=Precision.INT4) for name in ("small", "large"))


def order(store: RunStore, person: str, *tiers: Tier) -> Order:
    seen = store.seen_by(Viewer(person, sees_all=True)).router
    seen.keep_set(SET, "Own", TASKS)
    return Order(store=seen, identity=SET, name="Own", tasks=TASKS, tiers=tiers)


def wait(jobs: Jobs) -> None:
    until = time.monotonic() + 30
    while (state := jobs.state(job_key(SET))) and state.running:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_second_order_joins_the_job_and_nothing_is_asked_twice(store: RunStore, jobs: Jobs) -> None:
    gate = threading.Event()
    engine, recordings = FakeLabEngine(gate=gate), Recordings()
    assert recordings.ask(jobs, engine, order(store, "ann", SMALL))
    assert not recordings.ask(jobs, engine, order(store, "bob", SMALL, LARGE))
    assert [waiting.store.person_id for waiting in recordings.orders(SET)] == ["ann", "bob"]
    (told,) = jobs.told()
    assert (told.title, told.owner) == ("Recording “Own”", "ann")
    gate.set()
    wait(jobs)
    assert [request.config.model for request in engine.requests] == ["small"] * 4 + ["large"] * 4
    assert recordings.orders(SET) == ()
    seen = store.seen_by(Viewer("ann", sees_all=True)).router
    assert {r.tier: (r.own, r.others) for r in seen.recorded(SET)} == {SMALL.key: (4, 0), LARGE.key: (0, 4)}


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_a_job_that_ends_early_leaves_nothing_waiting_and_can_be_begun_again(
    store: RunStore, jobs: Jobs, how: str
) -> None:
    gate = threading.Event()
    engine, recordings = FakeLabEngine(gate=gate), Recordings()
    recordings.ask(jobs, engine, order(store, "ann", SMALL))
    recordings.ask(jobs, engine, order(store, "bob", LARGE))
    if how == "failed":
        engine.failure = GearboxError("The memory is full.")
    else:
        jobs.cancel(job_key(SET))
    gate.set()
    wait(jobs)
    assert (state := jobs.state(job_key(SET)))
    assert state.status == how
    assert recordings.orders(SET) == ()
    engine.failure = None
    assert recordings.ask(jobs, engine, order(store, "bob", LARGE))
    wait(jobs)
    assert {r.tier: r.answers for r in store.router.recorded(SET)}[LARGE.key] == 4


class ChoosyEngine(FakeLabEngine):
    """Whose small model takes no prompt that asks for 2, as a model takes none that is too long."""

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        is_small = request.config.model == SMALL.model
        return ContextLengthError(9000, 8192) if is_small and "2" in request.prompt else None


def test_what_one_order_could_not_record_keeps_no_other_order_from_being_recorded(store: RunStore, jobs: Jobs) -> None:
    gate = threading.Event()
    engine, recordings = ChoosyEngine(gate=gate), Recordings()
    recordings.ask(jobs, engine, order(store, "ann", SMALL))
    recordings.ask(jobs, engine, order(store, "bob", LARGE))
    gate.set()
    wait(jobs)
    assert {r.tier: r.answers for r in store.router.recorded(SET)} == {SMALL.key: 3, LARGE.key: 4}
    assert (state := jobs.state(job_key(SET)))
    assert state.status == "failed"
    assert "One prompt was left out" in str(state.error)
    assert recordings.orders(SET) == ()


def test_orders_one_after_the_other_each_get_a_job(store: RunStore, jobs: Jobs) -> None:
    engine, recordings = FakeLabEngine(), Recordings()
    for tier in (SMALL, LARGE) * 10:
        recordings.ask(jobs, engine, replace(order(store, "ann", tier)))
    wait(jobs)
    assert len(engine.requests) == 8
    assert recordings.orders(SET) == ()
