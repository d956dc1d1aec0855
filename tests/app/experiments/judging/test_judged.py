"""A judge's verdicts in the decision: for prompts without a checker, by name, and marked where the judge fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.estimates import AnswerTime
from app.experiments.judging.judged import seconds_of
from app.experiments.results.arrays import Judged, Measure, Results
from app.experiments.results.figures import figures_of
from app.experiments.results.table import table_of
from app.experiments.verdicts.decision import Answer, Decision, decide
from app.store import JudgeId, Pass, RunStore
from engine import Task
from tests.support.experiments import design
from tests.support.judging import JUDGE, quality, results, score

COUNT = 200


def mixed(store: RunStore, *, checked: int = 0, worse: int = 0) -> Results:
    """Prompts of which the first have a checker; the candidate gets some of these wrong."""
    tasks = [
        Task(
            id=f"p{n}",
            category="c",
            prompt="?",
            checker="contains" if n < checked else None,
            expected="x",
            max_tokens=8,
        )
        for n in range(COUNT)
    ]
    cells = [
        quality(place, f"p{n}", f"{place}-{n}", score=float(not place or n >= worse) if n < checked else None)
        for n in range(COUNT)
        for place in (0, 1)
    ]
    return results(store, design(tasks, passes=[Pass.QUALITY]), *cells)


def judged(
    found: Results,
    before: float,
    after: float,
    *,
    without: int = 0,
    pairwise: bool = False,
    concerns: tuple[str, ...] = (),
) -> Results:
    """The same with a judge's scores, none for the last prompts."""
    scores = np.array([[before] * COUNT, [after] * COUNT])
    scores[:, COUNT - without :] = np.nan
    judge = Judged(judge="wise int4", pairwise=pairwise, scores=scores, concerns=concerns, cautions=("Who knows.",))
    return replace(found, judged=judge)


def decision(found: Results) -> Decision:
    made = decide(found, 1, margin=0.05)
    assert made is not None
    return made


def test_without_a_judge_nothing_says_what_is_right(store: RunStore) -> None:
    made = decision(mixed(store))
    assert (made.answer, made.judged, made.scored, made.as_judged) == (Answer.UNSCORED, None, None, "")


@pytest.mark.parametrize(
    ("before", "after", "answer"), [(0.7, 0.7, Answer.GAIN_UNTOLD), (0.7, 0.9, Answer.YES), (0.7, 0.3, Answer.NO)]
)
def test_a_judge_decides_where_there_is_no_checker_and_is_named(
    store: RunStore, before: float, after: float, answer: Answer
) -> None:
    made = decision(judged(mixed(store), before, after, without=20))
    assert (made.answer, made.quality, made.measure) == (answer, None, Measure.JUDGE)
    assert made.scored is made.judged
    assert made.judged is not None
    assert (made.judged.prompts, made.unjudged) == (180, 20)
    assert made.as_judged.startswith("As wise int4 judges 180 prompts without a checker, 20 more without a verdict: ")
    assert made.as_judged.endswith("The judge passes its audit. Who knows.")
    assert made.as_judged in made.because
    assert made.judged.shown.turn in made.turn


@pytest.mark.parametrize("after", [0.3, 0.7, 0.9])
def test_a_judge_that_fails_its_audit_decides_nothing_and_says_in_what(store: RunStore, after: float) -> None:
    made = decision(judged(mixed(store), 0.7, after, concerns=("swayed by order 60 %",)))
    assert made.answer is Answer.DOUBTED
    assert "The judge fails its audit: swayed by order 60 %." in made.as_judged


def test_where_checkers_already_say_no_a_failing_judge_changes_nothing(store: RunStore) -> None:
    made = decision(judged(mixed(store, checked=100, worse=50), 0.7, 0.7, concerns=("x",)))
    assert (made.answer, made.measure) == (Answer.NO, Measure.CHECKER)


def test_checkers_and_judge_must_both_find_it_good_enough(store: RunStore) -> None:
    found = mixed(store, checked=100)
    assert decision(judged(found, 0.7, 0.7)).answer is Answer.GAIN_UNTOLD
    made = decision(judged(found, 0.7, 0.2))
    assert made.answer is Answer.NO
    assert made.quality is not None
    assert (made.quality.prompts, made.judged and made.judged.prompts) == (100, 100)


def test_one_verdict_of_the_two_is_none(store: RunStore) -> None:
    found = judged(mixed(store), 0.7, 0.7)
    assert found.judged is not None
    found.judged.scores[1, :190] = np.nan
    made = decision(found)
    assert (made.judged and made.judged.prompts, made.unjudged) == (10, 190)
    found.judged.scores[1] = np.nan
    made = decision(found)
    assert (made.answer, made.judged, made.unjudged) == (Answer.UNSCORED, None, 0)


def test_pairs_come_to_the_share_of_preferences(store: RunStore) -> None:
    made = decision(judged(mixed(store), 0.5, 0.25, pairwise=True))
    assert made.judged is not None
    assert (made.judged.baseline, made.judged.candidate, made.judged.difference) == (0.75, 0.25, -0.5)
    assert (made.answer, len(made.judged.lost)) == (Answer.NO, COUNT)


def test_scores_of_a_judge_are_told_apart_from_checkers(store: RunStore) -> None:
    found = judged(mixed(store, checked=100), 0.7, 0.6)
    scores = found.scores(Measure.JUDGE)
    assert np.isnan(scores[:, :100]).all()
    np.testing.assert_allclose(scores[1, 100:], 0.6)
    assert found.measures == (Measure.CHECKER, Measure.JUDGE)
    assert table_of(found).splitlines()[0].split() == ["Configuration", "Answered", "Failed", "Right", "Judged"]
    figures = figures_of(found, Measure.JUDGE, np.ones(COUNT, dtype=bool))
    assert [each.score for each in figures] == pytest.approx([0.7, 0.6])


def test_time_is_told_by_the_judges_own_pace_or_by_its_models() -> None:
    said = [score(f"p{n}", "a", 1.0) for n in range(4)]
    assert seconds_of(10, JUDGE, said, {}, 2.0) == 5.0
    assert seconds_of(10, JUDGE, [], {"int4": AnswerTime(step_s=0.1, read_s=0.0, load_s=3.0)}, 2.0) == 25.5
    assert seconds_of(10, JUDGE, [], {}, 2.0) is None
    assert seconds_of(10, JudgeId("big at host", "", 1), [], {}, 1.0) is None
