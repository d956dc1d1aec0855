"""What is replayed, what is found, and that nothing is half there or twice."""

from __future__ import annotations

import pytest
from sqlalchemy import delete

from app.background.jobs import JobCancelled
from app.operations.idle.giving_way import GaveWayError, GivingWay
from app.operations.sentinel.options import SentinelOptions
from app.operations.sentinel.picking import pick, set_checker
from app.operations.sentinel.replaying import replay
from app.operations.sentinel.standing import State, standings
from app.store import Deviation, GoneError, RoundCause, RunFilter, RunSource, StartedFrom, UnderWayError, Viewer
from app.store.runs.schema import RunTimeline
from engine.errors import InvalidRequestError
from engine.types import OptimizationConfig, Precision
from tests.support.disturbing import DISTURBED, QUIET
from tests.support.experiments import AnsweringEngine, Told, design, run
from tests.support.golden import Golden
from tests.support.ui import add_run

SKY = "Why is the sky blue?"


def states(golden: Golden) -> list[State]:
    return [each.state for each in standings(golden.store.sentinel)]


def test_what_is_picked_is_the_accepted_baseline(golden: Golden) -> None:
    id = golden.pick()
    kept, accepted = golden.store.sentinel.get(id), golden.store.sentinel.baselines()[id]
    assert kept.prompt == SKY
    assert accepted.text == "The sky scatters blue light."
    assert accepted.token_ids == (100, 101, 102, 103, 104, 105)
    assert states(golden) == [State.NEW]
    assert kept.run_id is not None
    with pytest.raises(InvalidRequestError, match="already"):
        pick(golden.store, kept.run_id)


def test_a_run_whose_tokens_were_not_kept_is_refused(golden: Golden) -> None:
    run_id = add_run(golden.store)
    with golden.store._database.write() as session:
        session.execute(delete(RunTimeline).where(RunTimeline.run_id == run_id))
    with pytest.raises(InvalidRequestError, match="tokens of this answer were not kept"):
        pick(golden.store, run_id)


def test_the_same_answer_is_no_finding_and_gives_the_baseline_its_times_and_its_kld(golden: Golden) -> None:
    id = golden.pick(precision=Precision.INT4)
    answer = golden.replay()[id]
    assert answer.deviations == ()
    accepted = golden.store.sentinel.baselines()[id]
    assert len(accepted.tpot_s) == len(accepted.ttft_s) == 3
    assert accepted.kld == answer.kld == pytest.approx(0.01)
    assert states(golden) == [State.SAME]


def test_a_replay_is_a_run_of_its_own_source_that_reuses_nothing_and_leaves_nothing(golden: Golden) -> None:
    golden.pick()
    golden.replay()
    page = golden.store.page(RunFilter(sources=(RunSource.SENTINEL,)))
    assert page.total == 1, "the timed ones are not kept"
    again = golden.engine.requests[1:]
    assert [each.exclusive for each in again] == [False, True, True, True]
    assert all(each.cold and each.unguarded for each in again)
    assert golden.engine.forgotten == [again[0].cache_salt]


def test_another_answer_is_a_flip_until_it_is_accepted(golden: Golden) -> None:
    id = golden.pick()
    golden.engine.answers[SKY] = ("It", " is", " painted", ".")
    answer = golden.replay()[id]
    assert answer.deviations == (Deviation.TOKENS,)
    (found,) = standings(golden.store.sentinel)
    assert (found.state, found.accepted.text, answer.text) == (
        State.FLIPPED, "The sky scatters blue light.", "It is painted.",
    )  # fmt: skip
    golden.store.sentinel.accept(answer.id)
    assert states(golden) == [State.SAME]
    assert golden.replay()[id].deviations == ()
    assert [each.text for each in golden.store.sentinel.history(id)] == [
        "It is painted.", "It is painted.", "The sky scatters blue light.",
    ]  # fmt: skip


def test_the_same_tokens_spelled_otherwise_are_a_flip_too(golden: Golden) -> None:
    id = golden.pick()
    golden.engine.answers[SKY] = ("The", " sky", " scatters", " red", " light", ".")
    assert golden.replay()[id].deviations == (Deviation.TOKENS,)


def test_what_is_filed_as_known_is_open_no_more_until_it_is_another_one(golden: Golden) -> None:
    id = golden.pick()
    golden.engine.answers[SKY] = ("It", " is", " painted", ".")
    golden.store.sentinel.file(golden.replay()[id].id, "A new kernel.")
    assert states(golden) == [State.KNOWN]
    again = golden.replay()[id]
    assert (again.known_at is not None, again.note) == (True, "A new kernel.")
    golden.engine.answers[SKY] = ("It", " is", " water")
    golden.replay()
    assert states(golden) == [State.FLIPPED]


def test_a_checker_tells_which_flips_matter(golden: Golden) -> None:
    id = golden.pick()
    set_checker(golden.store, golden.store.sentinel.get(id), "contains", "scatters")
    golden.engine.answers[SKY] = ("It", " is", " painted", ".")
    assert golden.replay()[id].deviations == (Deviation.SCORE, Deviation.TOKENS)
    (found,) = standings(golden.store.sentinel)
    assert found.words[0] == "Was right, is wrong"


def test_a_cell_of_an_experiment_brings_its_checker(golden: Golden) -> None:
    run(AnsweringEngine(), golden.store, design())
    cells = [cell for cell in golden.store.experiments.cells(golden.store.experiments.all()[0].id) if cell.score == 1]
    id = pick(golden.store, cells[0].run_id or "")
    kept = golden.store.sentinel.get(id)
    assert (kept.checker, kept.expected) == ("contains", "sky")
    assert golden.store.sentinel.baselines()[id].score == 1


def test_further_from_16_bits_is_a_finding(golden: Golden) -> None:
    id = golden.pick(precision=Precision.INT4)
    golden.replay()
    golden.engine.klds[Precision.INT4] = 0.05
    assert golden.replay()[id].deviations == (Deviation.KLD,)
    SentinelOptions(kld_limit=0.1).keep(golden.store.options)
    assert golden.replay()[id].deviations == ()


def test_slower_is_a_finding_and_is_timed_once_more(golden: Golden) -> None:
    id = golden.pick()
    golden.replay()
    golden.engine.delay_s = 0.013
    asked = len(golden.engine.requests)
    answer = golden.replay()[id]
    assert answer.deviations == (Deviation.SLOWER,)
    assert len(golden.engine.requests) - asked == 1 + 3 + 3
    assert len(answer.tpot_s) == 6


def test_a_disturbed_time_is_counted_and_alarms_nobody(golden: Golden) -> None:
    id = golden.pick()
    golden.replay()
    golden.engine.disturbances = [QUIET, *[DISTURBED] * 6]
    answer = golden.replay()[id]
    assert (answer.disturbed, answer.tpot_s, answer.deviations) == (6, (), ())


def test_a_model_that_is_gone_is_said(golden: Golden) -> None:
    ids = [golden.pick(), golden.pick("And the sea?", model="other")]
    golden.engine.weights["other"] = ""
    found = golden.replay()
    assert found[ids[0]].deviations == ()
    assert found[ids[1]].deviations == (Deviation.FAILED,)
    assert found[ids[1]].failure == "other is not installed."
    assert states(golden) == [State.FAILED, State.SAME]
    with pytest.raises(GoneError):
        golden.store.sentinel.accept(found[ids[1]].id)


def test_what_is_deleted_meanwhile_is_left_out(golden: Golden) -> None:
    first, second = golden.pick(), golden.pick("And the sea?")

    class Deletes(Told):
        def at(self, stage: str) -> None:
            if "1 of 2" in stage and golden.store.sentinel.all()[1:]:
                golden.store.sentinel.delete(second)

    replay(golden.engine, golden.store, Deletes(), timed=1)
    assert list(golden.store.sentinel.latest()) == [first]
    assert golden.store.sentinel.rounds()[0].ended_at is not None


def test_giving_way_keeps_what_is_whole_and_goes_on_with_the_rest(golden: Golden) -> None:
    first, second = golden.pick(), golden.pick("And the sea?")

    class SomebodyComes(Told):
        def at(self, stage: str) -> None:
            golden.engine.waiting = 2 if "2 of 2" in stage else 0

    watch = GivingWay(golden.engine)
    with pytest.raises(GaveWayError):
        replay(golden.engine, golden.store, SomebodyComes(), timed=1, watch=watch)
    assert list(golden.store.sentinel.latest()) == [first]
    assert golden.store.sentinel.under_way is None
    golden.engine.waiting = 0
    golden.replay()
    assert set(golden.store.sentinel.latest()) == {first, second}
    (only,) = golden.store.sentinel.rounds()
    assert (only.answered, only.ended_at is None) == (2, False)


def test_a_round_that_somebody_ends_is_over(golden: Golden) -> None:
    golden.pick()

    class Ends(Told):
        def at(self, stage: str) -> None:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        replay(golden.engine, golden.store, Ends(), timed=1)
    assert golden.store.sentinel.rounds()[0].ended_at is not None


def test_two_replay_at_once_never(golden: Golden) -> None:
    id = golden.pick()
    begun = golden.store.sentinel.begin(RoundCause.DEMAND, [id], StartedFrom.ITSELF)
    with pytest.raises(UnderWayError, match="sentinel"):
        golden.replay()
    golden.store.sentinel.end(begun.id, finished=False)
    golden.replay()


def test_without_golden_prompts_there_is_nothing_to_replay(golden: Golden) -> None:
    with pytest.raises(InvalidRequestError, match="no golden prompt"):
        golden.replay()


def test_others_golden_prompts_are_not_seen(golden: Golden) -> None:
    store = golden.store
    theirs = store.seen_by(Viewer("them", sees_all=False))
    run_id = store.get(store.sentinel.get(golden.pick()).run_id or "").id
    store.sentinel.delete(store.sentinel.all()[0].id)
    id = pick(theirs, run_id)
    others = store.seen_by(Viewer("others", sees_all=False))
    assert not others.sentinel.all()
    assert not others.sentinel.baselines()
    with pytest.raises(GoneError):
        others.sentinel.delete(id)
    golden.replay()
    assert id in theirs.sentinel.latest()
    assert not others.sentinel.latest()


def test_the_settings_are_those_of_the_run(golden: Golden) -> None:
    id = golden.pick(precision=Precision.INT4)
    golden.replay()
    gears = OptimizationConfig.at(Precision.INT4)
    assert golden.store.sentinel.get(id).run_config.optimization == gears
    assert all(each.config.optimization == gears for each in golden.engine.requests)
