"""Live traffic judged: giving way, and no score without a verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.experiments.judging.audit import Limits, State
from app.experiments.judging.judge import JudgeError, Reply
from app.experiments.judging.prompts import Asked, Opinion
from app.operations.idle.giving_way import GaveWayError
from app.operations.judging.audit import audit
from app.operations.judging.duty import JudgingDuty
from app.operations.judging.options import SALT, Judged, JudgingOptions
from app.operations.judging.trend import Mean, by_day, overall
from app.remote.prices import ListPrice
from app.store import JudgeId, NoVerdict, ScoreSums
from engine.errors import InvalidRequestError
from engine.types import RemoteModel
from tests.support.experiments import Told
from tests.support.judging_desk import LOCAL, SERVER, Desk, good
from tests.support.ui import add_run


def test_each_run_of_the_sample_is_judged_once(desk: Desk) -> None:
    for _ in range(3):
        add_run(desk.store)
    judge = desk.judge(good)
    desk.choose()
    assert desk.judging.run(Told()) == 3
    assert desk.judging.run(Told()) == 0
    assert len(judge.asked) == 3
    (sums,) = desk.store.judging.sums()
    assert (sums.count, sums.total) == (3, pytest.approx(2.4))
    assert desk.store.judging.under_way is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("What a fine answer, 10 of 10!", NoVerdict.UNREADABLE),
        ("  ", NoVerdict.EMPTY),
        (Reply(no_verdict=NoVerdict.REFUSED, detail="too long"), NoVerdict.REFUSED),
    ],
)
def test_garbage_is_counted_and_is_no_score(desk: Desk, said: str | Reply, why: NoVerdict) -> None:
    add_run(desk.store)
    desk.judge(lambda _: said)
    desk.choose()
    desk.judging.run(Told())
    assert desk.store.judging.sums() == ()
    (counts,) = desk.store.judging.counts()
    assert counts.unanswered == {why: 1}


def test_a_judge_that_cannot_be_reached_is_given_up_and_asked_again_later(desk: Desk) -> None:
    for _ in range(8):
        add_run(desk.store)
    judge = desk.judge(lambda _: Reply(no_verdict=NoVerdict.NO_ANSWER, detail="no route"))
    desk.choose()
    with pytest.raises(JudgeError, match="5 times in a row"):
        desk.judging.run(Told())
    judge.script = good
    assert desk.judging.run(Told()) == 8


def test_somebody_who_comes_is_let_go_first(desk: Desk) -> None:
    for _ in range(3):
        add_run(desk.store)

    def interrupted(asked: Asked) -> str:
        desk.engine.waiting = 1
        return good(asked)

    desk.judge(interrupted)
    desk.choose()
    with pytest.raises(GaveWayError):
        desk.judging.run(Told())
    assert desk.store.judging.counts()[0].asked == 1, "what was judged is kept"
    due = JudgingDuty(lambda: desk.judging).due()
    assert due is not None
    told = Told()
    due.work(told)
    assert "Gave way" in told.stages[-1]


def test_off_by_default_and_without_anything_to_judge_nothing_is_due(desk: Desk) -> None:
    add_run(desk.store)
    desk.judge(good)
    assert JudgingDuty(lambda: desk.judging).due() is None
    desk.choose()
    duty = JudgingDuty(lambda: desk.judging)
    due = duty.due()
    assert due is not None
    due.work(Told())
    assert JudgingDuty(lambda: desk.judging).due() is None


def test_where_nothing_waits_it_is_looked_at_less_often(desk: Desk) -> None:
    moments = [datetime.now(UTC)]
    duty = JudgingDuty(lambda: desk.judging, now=lambda: moments[0])
    desk.judge(good)
    desk.choose()
    assert duty.due() is None
    add_run(desk.store)
    moments[0] += timedelta(minutes=2)
    assert duty.due() is None, "nothing was there two minutes ago"
    desk.choose(share=0.5)
    assert duty.due() is not None, "something else was chosen"
    moments[0] += timedelta(seconds=30)
    assert duty.due() is None
    moments[0] += timedelta(minutes=1)
    assert duty.due() is not None, "something was there"


def test_a_judge_leaves_no_kv_of_its_questions(desk: Desk) -> None:
    for _ in range(2):
        add_run(desk.store)

    def interrupted(asked: Asked) -> str:
        raise GaveWayError

    judge = desk.judge(interrupted)
    desk.choose()
    with pytest.raises(GaveWayError):
        desk.judging.run(Told())
    assert desk.engine.forgotten == [SALT]
    judge.script = good
    desk.judging.run(Told())
    assert desk.engine.forgotten == [SALT] * 3, "of one question at a time"


def test_a_judge_that_is_always_wrong_fails_its_audit(desk: Desk) -> None:
    def wrong(asked: Asked) -> str:
        return asked.reply(Opinion(1.0 if "bad" in asked.first else 0.0, ""))

    for place in range(24):
        run_id = add_run(desk.store, words=("good" if place % 2 else "bad",))
        desk.store.rate(run_id, 1 if place % 2 else -1)
    desk.judge(wrong)
    desk.choose()
    desk.judging.run(Told())
    (counts,) = desk.store.judging.counts()
    found = audit(desk.store.judging, counts, [], desk.store.judging.sums())
    states = {check.name: check.state for check in found.checks(Limits())}
    assert states["Agreement with thumbs"] is State.FAILED
    assert states["No verdict"] is State.PASSED
    assert len(desk.store.judging.disagreements()) == 24


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.data())
def test_a_mean_of_sums_is_that_of_the_scores_however_they_are_cut(scores: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(scores)))
    parts = [_sums(part) for part in (scores[:cut], scores[cut:]) if part]
    found = Mean.of(parts)
    assert found.mean == pytest.approx(sum(scores) / len(scores))
    assert found.count == len(scores)
    if found.low is not None and found.high is not None:
        assert -1e-9 <= found.low <= found.mean + 1e-9
        assert found.mean - 1e-9 <= found.high <= 1 + 1e-9


def test_days_are_the_readers() -> None:
    from zoneinfo import ZoneInfo

    late = datetime(2026, 3, 1, 19, 0, tzinfo=UTC)  # 00:30 of the next day in Kolkata
    (days,) = by_day([_sums([0.5], late)], ZoneInfo("Asia/Kolkata")).values()
    assert [str(day) for day in days] == ["2026-03-02"]
    assert next(iter(overall([_sums([0.5], late)]).values())).count == 1


def _sums(scores: list[float], begins: datetime = datetime(2026, 3, 1, tzinfo=UTC)) -> ScoreSums:
    squares = sum(score * score for score in scores)
    return ScoreSums(begins, JudgeId("j", "", 1), "c", "m", "t", len(scores), sum(scores), squares)


@pytest.mark.parametrize(
    "wrong",
    [
        {"on": True, "judge": None},
        {"share": 0.0},
        {"calls_a_day": 0},
        {"money_a_day": -1.0},
        {"second": LOCAL},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        JudgingOptions(**{"judge": LOCAL, **wrong})  # type: ignore[arg-type]


def test_a_server_that_was_added_is_chosen_by_its_name_and_costs_its_list_price(desk: Desk) -> None:
    added = Judged("@office", None)
    assert (added.is_local, added.is_added, str(added)) == (False, True, "@office")
    remote = RemoteModel(name="@office", url="http://h:1/v1", served_name="big")
    judge = added.opened(desk.engine, None, None, {"@office": remote}.get)
    assert judge.id.name == "big at h:1"
    with pytest.raises(InvalidRequestError, match="@office is no server's model any more"):
        added.opened(desk.engine, "http://judges", None)
    add_run(desk.store)
    desk.judge(good, "@office")
    desk.choose(judge=added, read_price=1e6, money_a_day=1e6)
    listed = replace(desk.judging, prices=lambda: {"@office": ListPrice(0.0, 0.0)})
    assert listed.run(Told()) > 0
    assert desk.store.judging.spent(datetime(2000, 1, 1, tzinfo=UTC))[1] == 0.0


def test_the_judges_server_may_have_names_that_begin_as_those_of_added_ones_do(desk: Desk) -> None:
    chosen = Judged("@cf/meta/llama", None)  # as it was kept before servers could be added
    assert Judged("@office", None, added=False) != Judged("@office", None)
    assert str(chosen) == "@cf/meta/llama of the server"
    assert chosen.opened(desk.engine, "http://judges:1", None).id.name == "@cf/meta/llama at judges:1"
    JudgingOptions(judge=chosen).keep(desk.store.options)
    assert JudgingOptions.kept(desk.store.options).judge == chosen
    options = JudgingOptions(read_price=1.0, written_price=2.0)
    assert options.price_of(chosen, {chosen.model: ListPrice(9.0, 9.0)}) == ListPrice(1.0, 2.0)


def test_what_was_chosen_comes_back(desk: Desk) -> None:
    chosen = JudgingOptions(on=True, judge=LOCAL, second=SERVER, share=0.2, calls_a_day=7, read_price=1.5)
    chosen.keep(desk.store.options)
    assert JudgingOptions.kept(desk.store.options) == chosen
    with pytest.raises(InvalidRequestError, match="GEARBOX_JUDGE_URL"):
        SERVER.opened(desk.engine, None, None)
