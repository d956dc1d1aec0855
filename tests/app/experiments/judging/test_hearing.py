"""Whose verdicts count and beyond which limits a judge fails is kept with the experiment, the same for everybody."""

from __future__ import annotations

import pytest

from app.experiments.judging.audit import Limits
from app.experiments.judging.budget import Budget
from app.experiments.judging.hearing import Judging, read_hearing
from app.experiments.judging.judge import Reply
from app.experiments.judging.running import judge_experiment
from app.experiments.results.arrays import read_results
from app.experiments.verdicts.decision import Answer, decide
from app.store import JudgementKind, NoVerdict, Pass, RunStore
from engine import Task
from tests.support.experiments import AnsweringEngine, Told, design, run
from tests.support.judging import JUDGE, OTHER, ScriptedJudge, says

SCORE, PAIR = JudgementKind.SCORE, JudgementKind.PAIR


@pytest.fixture
def experiment(store: RunStore) -> str:
    """Of whose prompts no checker scores any, judged by one judge in full and by another on a few."""
    tasks = [Task(id=f"p{n}", category="Chat", prompt=f"Why {n}?", max_tokens=8) for n in range(20)]
    id = run(AnsweringEngine(), store, design(tasks, passes=[Pass.QUALITY]))
    judge_experiment(ScriptedJudge(says(0.7)), store, id, SCORE, Budget(1000, 3600.0), Told())
    judge_experiment(ScriptedJudge(says(0.2), id=OTHER), store, id, SCORE, Budget(10, 3600.0), Told())
    return id


def test_before_anybody_chose_the_judge_counts_that_was_asked_most(store: RunStore, experiment: str) -> None:
    heard = read_hearing(store, read_results(store, experiment))
    assert heard.judges == ((JUDGE, SCORE), (OTHER, SCORE))
    assert heard.results.judged is not None
    assert heard.results.judged.judge == "wise int4"
    assert heard.judging == Judging()


def test_what_is_kept_counts_for_everybody_who_reads_it(store: RunStore, experiment: str) -> None:
    chosen = Judging(Limits(silent=0.5, kappa=0.9), (OTHER, SCORE))
    store.experiments.set_judging(experiment, chosen.to_dict())
    heard = read_hearing(store, read_results(store, experiment))
    assert heard.judging == chosen
    assert heard.judges[0] == (OTHER, SCORE)
    assert heard.results.judged is not None
    assert heard.results.judged.judge == "other int8"


def test_a_choice_counts_however_little_it_was_asked_and_one_that_said_nothing_does_not(
    store: RunStore, experiment: str
) -> None:
    store.experiments.set_judging(experiment, Judging(counts=(JUDGE, PAIR)).to_dict())
    heard = read_hearing(store, read_results(store, experiment))
    assert (heard.judges[0], heard.kind) == ((JUDGE, PAIR), PAIR)
    assert heard.results.judged is not None
    assert heard.results.judged.pairwise
    made = run(AnsweringEngine(), store, design(name="Other", passes=[Pass.QUALITY]))
    store.experiments.set_judging(made, Judging(counts=(JUDGE, PAIR)).to_dict())
    silent = read_hearing(store, read_results(store, made))
    assert (silent.judges, silent.results.judged) == ((), None)


def test_a_limit_that_is_kept_marks_the_decision_or_no_longer(store: RunStore) -> None:
    tasks = [Task(id=f"p{n}", category="Chat", prompt=f"Why {n}?", max_tokens=8) for n in range(20)]
    id = run(AnsweringEngine(), store, design(tasks, passes=[Pass.QUALITY]))
    replies = iter([Reply(no_verdict=NoVerdict.REFUSED)] * 10)  # of 80
    judge = ScriptedJudge(lambda asked: next(replies, says(0.7)(asked)))
    judge_experiment(judge, store, id, SCORE, Budget(1000, 3600.0), Told())

    def answer() -> Answer:
        decision = decide(read_hearing(store, read_results(store, id)).results, 1, margin=0.5)
        assert decision is not None
        return decision.answer

    assert answer() is Answer.DOUBTED
    store.experiments.set_judging(id, Judging(Limits(silent=0.2)).to_dict())
    assert answer() is not Answer.DOUBTED
