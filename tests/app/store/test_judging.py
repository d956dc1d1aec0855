"""Live judgements on both databases: who is sampled, what is counted, what outlives a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.store import (
    Candidate,
    GoneError,
    JudgeId,
    LiveJudgement,
    NoVerdict,
    RunSource,
    RunStatus,
    RunStore,
    StartedFrom,
    UnderWayError,
    Viewer,
)
from app.store.runs.schema import Run
from engine.types import Precision
from tests.support.fakes import make_request
from tests.support.live_judging import ONE, TWO, say
from tests.support.ui import add_run

EVER = datetime(2020, 1, 1, tzinfo=UTC)


def candidates(store: RunStore, share: float = 1.0, judge: JudgeId = ONE) -> dict[str, Candidate]:
    return {each.run_id: each for each in store.judging.candidates(judge, share=share, since=EVER, most=1000)}


def test_only_finished_runs_of_traffic_with_an_answer_are_judged(store: RunStore) -> None:
    wanted = add_run(store)
    add_run(store, source=RunSource.EXPERIMENT)
    add_run(store, source=RunSource.SENTINEL)
    add_run(store, words=(), status=RunStatus.FAILED, error="No.")
    found = candidates(store)
    assert list(found) == [wanted]
    assert found[wanted].tier == "smollm2-135m bf16"
    later = store.judging.candidates(ONE, share=1.0, since=datetime.now(UTC) + timedelta(days=1), most=9)
    assert later == ()


def test_a_sample_is_the_same_each_time_and_has_one_of_each_configuration(store: RunStore) -> None:
    often = [add_run(store) for _ in range(40)]
    rare = add_run(store, make_request(precision=Precision.INT4))
    half, few = candidates(store, 0.5), candidates(store, 0.0001)
    assert half == candidates(store, 0.5)
    assert rare in few
    assert len(few) == 2
    assert few.keys() <= half.keys()
    assert 5 < len(half.keys() & set(often)) < 35


def test_however_many_runs_one_configuration_has_others_and_their_tiers_are_among_the_first(store: RunStore) -> None:
    rare = add_run(store, make_request(precision=Precision.INT4))
    often = [add_run(store) for _ in range(12)]
    found = store.judging.candidates(ONE, share=1.0, since=EVER, most=4)
    assert [each.run_id for each in found] == [often[-1], rare, often[-2], often[-3]]


def test_each_tier_of_a_cascade_has_a_run_in_the_sample(store: RunStore) -> None:
    ids = [add_run(store) for _ in range(12)]
    with store._database.write() as session:
        for run_id in ids[:3]:
            session.get_one(Run, run_id).tier = "large int4"
    few = candidates(store, 0.0001)
    assert sorted(each.tier for each in few.values()) == ["large int4", "smollm2-135m bf16"]


def test_what_was_asked_counts_whatever_comes_of_it(store: RunStore) -> None:
    charge = store.judging.charge(0.5)
    store.judging.charge(0.25)
    assert store.judging.spent(EVER) == (2, pytest.approx(0.75))
    store.judging.settle(charge, 0.1)
    assert store.judging.spent(EVER) == (2, pytest.approx(0.35))
    assert store.judging.spent(datetime.now(UTC) + timedelta(hours=1)) == (0, 0)


def test_nobody_is_asked_twice_but_who_could_not_be_reached(store: RunStore) -> None:
    first, second = add_run(store), add_run(store)
    say(store, first, 0.5)
    say(store, second, None, no_verdict=NoVerdict.NO_ANSWER, detail="refused")
    assert list(candidates(store)) == [second]
    say(store, second, None, no_verdict=NoVerdict.UNREADABLE)
    assert not candidates(store)
    assert len(candidates(store, judge=TWO)) == 2


def test_what_says_nothing_is_counted_and_is_no_score(store: RunStore) -> None:
    for score in (0.2, 0.4):
        say(store, add_run(store), score)
    say(store, add_run(store), None, no_verdict=NoVerdict.EMPTY, prompt_tokens=None)
    (sums,) = store.judging.sums()
    assert (sums.count, sums.total, sums.squares) == (2, pytest.approx(0.6), pytest.approx(0.2))
    assert sums.begins.minute % 15 == 0
    (counts,) = store.judging.counts()
    assert (counts.asked, counts.unanswered, counts.uncounted) == (3, {NoVerdict.EMPTY: 1}, 1)
    assert (counts.seconds, counts.cost) == (pytest.approx(1.5), pytest.approx(0.75))


def test_scores_outlive_their_run_and_what_was_written_of_it_does_not(store: RunStore) -> None:
    run_id = add_run(store)
    say(store, run_id, 0.9)
    say(store, run_id, 0.1, TWO)
    assert len(store.judging.disagreements()) == 1
    store.delete([run_id])
    assert sum(each.count for each in store.judging.sums()) == 2
    assert store.judging.disagreements() == ()
    with pytest.raises(GoneError):
        store.judging.keep(_of_a_run_that_is_gone(run_id))


def _of_a_run_that_is_gone(run_id: str) -> LiveJudgement:
    run = Candidate(run_id=run_id, created_at=EVER, config_hash="c", model="m", precision="p", tier="t")
    return LiveJudgement(
        run=run, judge=ONE, score=1.0, reason="", no_verdict=None, detail="", seconds=0, prompt_tokens=None,
        completion_tokens=None, cost=0,
    )  # fmt: skip


def test_where_judges_and_thumbs_part(store: RunStore) -> None:
    alike, apart, loved = (add_run(store, person_id="me") for _ in range(3))
    for run_id, score, other in ((alike, 0.5, 0.6), (apart, 1.0, 0.0), (loved, 0.1, 0.2)):
        say(store, run_id, score)
        say(store, run_id, other, TWO)
    store.rate(loved, 1)
    store.rate(alike, 1)
    found = store.judging.disagreements()
    assert [(each.run_id, each.other is None) for each in found] == [(apart, False), (loved, True), (loved, True)]
    assert (found[0].score, found[0].other_score, found[0].reason) == (1.0, 0.0, "So it is.")
    assert found[1].apart == pytest.approx(0.9)
    assert store.seen_by(Viewer("others", sees_all=False)).judging.disagreements() == ()
    assert sorted(store.judging.beside_thumbs(ONE)) == [(0.1, 1.0), (0.5, 1.0)]
    assert sorted(store.judging.beside_another(ONE, TWO)) == [(0.1, 0.2), (0.5, 0.6), (1.0, 0.0)]


def test_two_never_judge_at_once(store: RunStore) -> None:
    with store.judging.begun(StartedFrom.ITSELF):
        assert store.judging.under_way is not None
        with pytest.raises(UnderWayError), store.judging.begun(StartedFrom.ITSELF):
            pass
    assert store.judging.under_way is None
