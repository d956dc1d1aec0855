"""Golden prompts and their answers, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.store import Deviation, GoldenAnswer, GoneError, RoundCause, RunStore, StartedFrom, UnderWayError
from engine.types import Precision
from tests.support.fakes import make_request
from tests.support.stores import create

CLEANED = "Blue.\N{REPLACEMENT CHARACTER} ✓"
MOMENT = datetime(2026, 3, 1, 12, 30, 0, 250, tzinfo=UTC)
ANSWER = GoldenAnswer(
    id="", golden_id="", round_id=None, created_at=MOMENT, run_id=None, text="Blue.\x00 ✓", token_ids=(5, 6),
    score=1.0, fingerprint={"cpu": "A", "models": {"m": "ab"}}, ttft_s=(0.1, 0.2), tpot_s=(0.01,), disturbed=1,
    kld=0.02, kld_tokens=2,
)  # fmt: skip


def pick(store: RunStore, name: str = "Sky", **given: object) -> str:
    request = make_request(precision=Precision.INT4)
    return store.sentinel.pick(request, replace(ANSWER, **given), name=name, checker="contains", expected=["blue"])  # type: ignore[arg-type]


def replayed(store: RunStore, golden_id: str, round_id: str, **given: object) -> GoldenAnswer:
    id = f"{len(store.sentinel.history(golden_id)):032x}"
    answer = replace(ANSWER, id=id, golden_id=golden_id, round_id=round_id, **given)  # type: ignore[arg-type]
    store.sentinel.keep_answer(answer)
    return answer


def begin(store: RunStore, *ids: str) -> str:
    return store.sentinel.begin(RoundCause.DEMAND, ids, StartedFrom.PAGE).id


def test_what_was_picked_comes_back_as_it_was(store: RunStore) -> None:
    run_id = create(store)
    id = pick(store, run_id=run_id)
    kept = store.sentinel.get(id)
    assert kept.request == make_request(precision=Precision.INT4)
    assert (kept.checker, kept.expected, kept.run_id) == ("contains", ["blue"], run_id)
    accepted = store.sentinel.baselines()[id]
    assert replace(accepted, id="", golden_id="", run_id=None, accepted_at=None) == replace(ANSWER, text=CLEANED)
    assert store.sentinel.of_run(run_id) == kept
    store.delete([run_id])
    assert store.sentinel.get(id).run_id is None
    assert store.sentinel.baselines()[id].text == CLEANED, "what was accepted outlives its run"


def test_the_latest_is_the_last_one_kept_whatever_its_clock_says(store: RunStore) -> None:
    id = pick(store)
    assert store.sentinel.latest() == {}
    first = begin(store, id)
    replayed(store, id, first)
    store.sentinel.end(first, finished=True)
    second = begin(store, id)
    replayed(
        store, id, second, created_at=datetime(2020, 1, 1, tzinfo=UTC), text="Red.", deviations=(Deviation.TOKENS,)
    )
    store.sentinel.end(second, finished=True)
    assert store.sentinel.latest()[id].text == "Red."
    assert [each.text for each in store.sentinel.history(id)] == ["Red.", CLEANED, CLEANED]


def test_a_round_has_one_answer_to_each_whoever_keeps_it(store: RunStore) -> None:
    id = pick(store)
    round_id = begin(store, id)
    replayed(store, id, round_id, text="First")
    replayed(store, id, round_id, text="Second")
    assert store.sentinel.latest()[id].text == "First"
    assert store.sentinel.answered(round_id) == {id}


def test_an_interrupted_round_takes_in_what_is_asked_for_next(store: RunStore) -> None:
    first, second = pick(store), pick(store, "Sea")
    round_id = begin(store, first)
    with pytest.raises(UnderWayError, match="sentinel"):
        begin(store, second)
    assert store.sentinel.under_way is not None
    store.sentinel.end(round_id, finished=False)
    assert store.sentinel.under_way is None
    again = store.sentinel.begin(RoundCause.SCHEDULE, [second], StartedFrom.ITSELF)
    assert (again.id, again.golden_ids, again.cause) == (round_id, (first, second), RoundCause.DEMAND)


def test_accepting_and_filing(store: RunStore) -> None:
    id = pick(store)
    baseline = store.sentinel.baselines()[id].id
    round_id = begin(store, id)
    answer = replayed(store, id, round_id, against_id=baseline, text="Red.", deviations=(Deviation.TOKENS,))
    store.sentinel.file(answer.id, "A new kernel; it is as good.")
    (known,) = store.sentinel.known()
    assert (known.note, known.deviations) == ("A new kernel; it is as good.", (Deviation.TOKENS,))
    store.sentinel.accept(answer.id)
    assert store.sentinel.baselines()[id].text == "Red."
    assert store.sentinel.known() == (), "it was known against another one"
    with pytest.raises(GoneError):
        store.sentinel.accept("0" * 32)


def test_times_and_kld_are_given_to_an_accepted_answer_that_lacks_them_alone(store: RunStore) -> None:
    id = pick(store, ttft_s=(), tpot_s=(), kld=None)
    answer_id = store.sentinel.baselines()[id].id
    store.sentinel.complete(answer_id, replace(ANSWER, tpot_s=(0.5,), kld=0.1))
    store.sentinel.complete(answer_id, replace(ANSWER, tpot_s=(0.9,), kld=0.9))
    accepted = store.sentinel.baselines()[id]
    assert (accepted.tpot_s, accepted.kld) == ((0.5,), 0.1)


def test_what_is_deleted_is_gone_with_its_answers(store: RunStore) -> None:
    id = pick(store)
    round_id = begin(store, id)
    replayed(store, id, round_id)
    store.sentinel.delete(id)
    assert store.sentinel.all() == ()
    assert store.sentinel.latest() == {}
    with pytest.raises(GoneError):
        store.sentinel.keep_answer(replace(ANSWER, id="1" * 32, golden_id=id, round_id=round_id))


def test_options_are_for_all(store: RunStore) -> None:
    assert store.options.get("sentinel") is None
    store.options.set("sentinel", {"kld": False})
    store.options.set("sentinel", {"kld": True, "text": "“é”"})
    assert store.options.get("sentinel") == {"kld": True, "text": "“é”"}
