"""When the sentinel replays by itself: on schedule, after a change, and only while nobody asks anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app import environment
from app.background.jobs import Jobs
from app.operations.idle.duties import IdleWork
from app.operations.sentinel.duty import SentinelDuty
from app.operations.sentinel.options import SentinelOptions
from app.operations.sentinel.replaying import JOB
from app.store import Deviation, RoundCause, StartedFrom
from tests.support.experiments import Told
from tests.support.golden import Golden
from tests.support.waiting import until


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def duty(golden: Golden, clock: Clock) -> SentinelDuty:
    return SentinelDuty(lambda: golden.engine, lambda: golden.store, now=clock)


def test_without_golden_prompts_or_where_all_is_off_nothing_is_due(golden: Golden, duty: SentinelDuty) -> None:
    assert duty.due() is None
    golden.pick()
    SentinelOptions(on_change=False).keep(golden.store.options)
    assert duty.due() is None


def test_a_change_of_weights_has_them_replayed_once(golden: Golden, duty: SentinelDuty, clock: Clock) -> None:
    id = golden.pick()
    golden.replay()
    assert duty.due() is None
    golden.engine.weights["smollm2-135m"] = "cd" * 32
    assert duty.due() is None, "weights are not looked at all the time"
    clock.now += timedelta(minutes=2)
    due = duty.due()
    assert due is not None
    due.work(Told())
    last = golden.store.sentinel.rounds()[0]
    assert last.cause is RoundCause.CHANGE
    assert last.changes == (f"Weights of smollm2-135m: {'ab' * 6} → {'cd' * 6}",)
    assert golden.store.sentinel.latest()[id].deviations == ()
    golden.engine.weights["smollm2-135m"] = "ab" * 32
    clock.now += timedelta(minutes=2)
    assert duty.due() is None, "they were replayed with these before: two servers do not take turns"


def test_kernels_of_another_build_are_a_change(
    golden: Golden, duty: SentinelDuty, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "kernels_built", lambda: "ab" * 8)
    golden.pick()
    golden.replay()
    assert duty.due() is None
    first, second = "ab" * 8, "cd" * 8
    for built, says in ((second, f"{first} → {second}"), (None, f"{second} → not built")):
        monkeypatch.setattr(environment, "kernels_built", lambda built=built: built)
        clock.now += timedelta(minutes=2)
        due = duty.due()
        assert due is not None
        due.work(Told())
        assert golden.store.sentinel.rounds()[0].changes == (f"Kernels' build: {says}",)
        clock.now += timedelta(minutes=2)
        assert duty.due() is None


def test_a_model_that_was_deleted_is_a_change_that_is_told_once(
    golden: Golden, duty: SentinelDuty, clock: Clock
) -> None:
    id = golden.pick()
    golden.replay()
    golden.engine.weights["smollm2-135m"] = ""
    due = duty.due()
    assert due is not None
    due.work(Told())
    assert golden.store.sentinel.latest()[id].deviations == (Deviation.FAILED,)
    clock.now += timedelta(minutes=2)
    assert duty.due() is None
    golden.engine.weights.clear()
    clock.now += timedelta(minutes=2)
    assert duty.due() is not None, "it is back"


def test_what_was_just_picked_is_replayed_for_its_times(golden: Golden, duty: SentinelDuty) -> None:
    golden.pick()
    due = duty.due()
    assert due is not None
    due.work(Told())
    assert golden.store.sentinel.rounds()[0].changes == ("Golden prompts that were never replayed",)


def test_on_schedule_even_if_the_clock_was_set_back(golden: Golden, duty: SentinelDuty, clock: Clock) -> None:
    golden.pick()
    SentinelOptions(every_hours=6, on_change=False).keep(golden.store.options)
    due = duty.due()
    assert due is not None
    due.work(Told())
    assert golden.store.sentinel.rounds()[0].cause is RoundCause.SCHEDULE
    clock.now = datetime.now(UTC) + timedelta(hours=5)
    assert duty.due() is None
    clock.now += timedelta(hours=2)
    assert duty.due() is not None
    clock.now = datetime.now(UTC) - timedelta(days=400)
    assert duty.due() is not None


def test_an_interrupted_round_is_gone_on_with(golden: Golden, duty: SentinelDuty) -> None:
    id = golden.pick()
    begun = golden.store.sentinel.begin(RoundCause.DEMAND, [id], StartedFrom.PAGE)
    assert duty.due() is None, "it is under way"
    golden.store.sentinel.end(begun.id, finished=False)
    due = duty.due()
    assert due is not None
    due.work(Told())
    (only,) = golden.store.sentinel.rounds()
    assert only.ended_at is not None


def test_somebody_who_comes_is_not_kept_waiting(golden: Golden, duty: SentinelDuty) -> None:
    golden.pick()
    SentinelOptions(every_hours=6).keep(golden.store.options)
    due = duty.due()
    assert due is not None
    golden.engine.waiting = 2
    told = Told()
    due.work(told)
    assert "Gave way" in told.stages[-1]
    assert golden.engine.generations[-1].closed
    assert not golden.store.sentinel.latest()


def test_idle_work_begins_what_is_due_after_a_quiet_while_only(golden: Golden, duty: SentinelDuty) -> None:
    golden.pick()
    SentinelOptions(every_hours=6).keep(golden.store.options)
    jobs, seconds = Jobs(), [0.0]
    work = IdleWork(
        jobs, lambda: golden.engine, lambda: [duty], quiet_s=20, look_every_s=3600, clock=lambda: seconds[0]
    )
    try:
        assert not work.look()
        seconds[0] = 19
        golden.engine.waiting = 1
        assert not work.look()
        golden.engine.waiting = 0
        seconds[0] = 21
        assert not work.look(), "somebody was there 2 s ago"
        seconds[0] = 42
        assert work.look()
        until(lambda: (state := jobs.state(JOB)) is not None and not state.running)
        assert golden.store.sentinel.rounds()[0].ended_at is not None
    finally:
        work.close()
        jobs.close()
