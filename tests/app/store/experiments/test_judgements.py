"""What judges say is kept with their experiment: each verdict once, seen by whom the experiment is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.store import (
    ExperimentStore,
    GoneError,
    JudgeId,
    Judgement,
    JudgementKey,
    JudgementKind,
    NoVerdict,
    RunSource,
    RunStore,
    Viewer,
)
from tests.support.experiments import TASKS
from tests.support.fakes import make_request

JUDGE = JudgeId("big@int4", "w" * 64, 3)
KEY = JudgementKey(JUDGE, JudgementKind.PAIR, "sky ☃", "a" * 64, "b" * 64)
SAID = Judgement(
    key=KEY, score=0.5, reason="Both <b>do</b>.", seconds=1.25, prompt_tokens=300, completion_tokens=None
)  # fmt: skip


def keep(store: ExperimentStore) -> str:
    return store.keep(name="Own", question="", design={}, design_sha256="d" * 64, prompts=TASKS)


def test_a_judgement_comes_back_whole_and_takes_the_place_of_an_earlier_one(store: RunStore) -> None:
    id = keep(store.experiments)
    assert store.experiments.judged_until(id) == (0, None)
    none = Judgement(key=KEY, score=None, no_verdict=NoVerdict.NO_ANSWER, detail="HTTP 500")
    store.experiments.keep_judgement(id, none)
    assert store.experiments.judgements(id) == (none,)
    before = store.experiments.judged_until(id)
    store.experiments.keep_judgement(id, SAID)
    assert store.experiments.judgements(id) == (SAID,)
    count, latest = store.experiments.judged_until(id)
    assert (count, latest is not None and before[1] is not None and latest > before[1]) == (1, True)


@pytest.mark.parametrize(
    "key",
    [
        replace(KEY, judge=replace(JUDGE, version=4)), replace(KEY, judge=replace(JUDGE, weights_sha256="")),
        replace(KEY, kind=JudgementKind.SCORE), replace(KEY, first_sha256="b" * 64, second_sha256="a" * 64),
        replace(KEY, prompt_id="moon"), replace(KEY, second_sha256=""),
    ],
)  # fmt: skip
def test_another_judge_question_or_order_is_another_judgement(store: RunStore, key: JudgementKey) -> None:
    id = keep(store.experiments)
    store.experiments.keep_judgement(id, SAID)
    store.experiments.keep_judgement(id, replace(SAID, key=key))
    assert {each.key for each in store.experiments.judgements(id)} == {KEY, key}


def test_judgements_go_with_their_experiment(store: RunStore) -> None:
    id, other = keep(store.experiments), keep(store.experiments)
    store.experiments.keep_judgement(id, SAID)
    store.experiments.keep_judgement(other, SAID)
    store.experiments.delete(id)
    assert (store.experiments.judgements(id), store.experiments.judgements(other)) == ((), (SAID,))
    with pytest.raises(GoneError):
        store.experiments.keep_judgement(id, SAID)


def test_somebody_elses_are_not_seen(store: RunStore) -> None:
    hers = store.seen_by(Viewer("her", sees_all=False)).experiments
    his = store.seen_by(Viewer("him", sees_all=False)).experiments
    id = keep(hers)
    hers.keep_judgement(id, SAID)
    assert (hers.judgements(id), his.judgements(id)) == ((SAID,), ())


def test_thumbs_are_of_the_experiments_own_runs(store: RunStore) -> None:
    id, other = keep(store.experiments), keep(store.experiments)
    good, bad, plain, elsewhere = (
        store.create_run(make_request(), person_id="her", environment={}, group_id=group, source=RunSource.EXPERIMENT)
        for group in (id, id, id, other)
    )
    for run_id in (good, elsewhere):
        store.rate(run_id, 1)
    store.rate(bad, -1)
    assert plain not in store.experiments.thumbs(id)
    assert store.experiments.thumbs(id) == {good: 1, bad: -1}
    assert store.seen_by(Viewer("him", sees_all=False)).experiments.thumbs(id) == {}
