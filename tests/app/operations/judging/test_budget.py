"""The day's budget holds: whatever comes of a question, it was asked; and what was chosen last counts."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from app.experiments.judging.judge import JudgeError, Reply
from app.experiments.judging.prompts import Asked
from app.operations.idle.giving_way import GaveWayError
from app.operations.judging.duty import JudgingDuty
from app.operations.judging.options import Judged
from app.store import NoVerdict, StoreError
from engine.errors import InvalidRequestError
from tests.support.experiments import Told
from tests.support.judging_desk import SERVER, Desk, good
from tests.support.ui import add_run


def spent(desk: Desk) -> tuple[int, float]:
    return desk.store.judging.spent(datetime.now(UTC) - timedelta(days=1))


def test_the_days_budget_of_questions_holds_for_both_judges_together(desk: Desk) -> None:
    for _ in range(4):
        add_run(desk.store)
    desk.judge(good)
    desk.judge(good, "large")
    desk.choose(second=SERVER, calls_a_day=5)
    assert desk.judging.run(Told()) == 5
    assert desk.judging.run(Told()) == 0
    assert JudgingDuty(lambda: desk.judging).due() is None


def test_the_days_budget_of_money_holds(desk: Desk) -> None:
    for _ in range(4):
        add_run(desk.store)
    desk.judge(good, "large")
    # 100 tokens are read and 20 written for each: 0.0014
    desk.choose(judge=SERVER, money_a_day=0.002, read_price=10.0, written_price=20.0)
    assert desk.judging.run(Told()) == 2
    assert desk.store.judging.spent(datetime.now(UTC) - timedelta(days=1))[1] == pytest.approx(0.0028)


def test_a_dead_server_is_asked_no_more_than_the_budget_allows(desk: Desk) -> None:
    for _ in range(3):
        add_run(desk.store)
    judge = desk.judge(lambda _: Reply(no_verdict=NoVerdict.NO_ANSWER, detail="no route"), "large")
    desk.choose(judge=SERVER, calls_a_day=7)
    for _ in range(5):
        with suppress(JudgeError):
            desk.judging.run(Told())
    assert len(judge.asked) == 7
    assert spent(desk)[0] == 7


def test_what_was_broken_off_or_is_about_a_run_that_goes_was_asked(desk: Desk) -> None:
    runs = [add_run(desk.store) for _ in range(2)]

    def broken_off(asked: Asked) -> str:
        raise GaveWayError

    def deleting(asked: Asked) -> str:
        desk.store.delete(runs)
        return good(asked)

    judge = desk.judge(broken_off, "large")
    desk.choose(judge=SERVER, written_price=1.0)
    with pytest.raises(GaveWayError):
        desk.judging.run(Told())
    calls, money = spent(desk)
    assert calls == 1
    assert money > 0, "an estimate"
    judge.script = deleting
    assert desk.judging.run(Told()) == 1
    assert desk.store.judging.counts() == ()
    assert spent(desk)[0] == 2


def test_a_local_judge_that_is_broken_off_has_taken_the_machine(desk: Desk) -> None:
    add_run(desk.store)

    def broken_off(asked: Asked) -> str:
        raise GaveWayError

    desk.judge(broken_off)
    desk.choose()
    with pytest.raises(GaveWayError):
        desk.judging.run(Told())
    assert spent(desk)[1] > 0


def test_what_cannot_be_counted_is_not_asked(desk: Desk) -> None:
    for _ in range(3):
        add_run(desk.store)

    def no_more_writing(asked: Asked) -> str:
        with desk.store._database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
        return good(asked)

    judge = desk.judge(no_more_writing)
    desk.choose()
    with pytest.raises(StoreError):
        desk.judging.run(Told())
    assert len(judge.asked) == 1
    with desk.store._database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
    judge.script = good
    assert desk.judging.run(Told()) == 2, "what waited to be written is not asked again"


@pytest.mark.parametrize("then", [{"on": False}, {"judge": Judged("other", "int4")}, {"calls_a_day": 1}])
def test_what_is_chosen_meanwhile_holds_at_once(desk: Desk, then: dict[str, object]) -> None:
    for _ in range(3):
        add_run(desk.store)

    def chosen_meanwhile(asked: Asked) -> str:
        desk.choose(**then)
        return good(asked)

    judge = desk.judge(chosen_meanwhile)
    desk.choose()
    assert desk.judging.run(Told()) == 1
    assert len(judge.asked) == 1


@pytest.mark.parametrize("judge", [Judged("@office", None), SERVER])
def test_a_server_without_a_price_is_not_asked(desk: Desk, judge: Judged) -> None:
    add_run(desk.store)
    asked = desk.judge(good, judge.model).asked
    desk.choose(judge=judge, read_price=None, written_price=None)
    with pytest.raises(InvalidRequestError, match="has no price"):
        desk.judging.run(Told())
    assert (asked, spent(desk)) == ([], (0, 0.0))
    desk.choose(judge=judge, read_price=1e6, written_price=1e6, money_a_day=1e9 - 1)
    assert desk.judging.run(Told()) == 1
    assert spent(desk)[1] > 0
