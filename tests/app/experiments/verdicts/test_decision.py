"""Whether to ship: one answer, with its reasons and what would turn it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from app.experiments.results.arrays import Results
from app.experiments.verdicts.decision import Answer, Decision, decide
from app.store import Pass, RunStore
from engine import Task
from tests.support.experiments import TASKS, answered, configuration, design, quality, read, speed, sums

N = 200
RIGHT = [1.0] * N


def held(store: RunStore, scores: Sequence[float], e2e_s: float, **changed: float) -> Results:
    """A baseline that is all right and takes a second, and a candidate."""
    tasks = sums(len(scores), ("Easy", "Hard"))
    cells = [*answered(0, tasks, RIGHT[: len(scores)]), *answered(1, tasks, scores, e2e_s)]
    cells = [replace(cell, **changed) if cell.key.configuration else cell for cell in cells]  # type: ignore[arg-type]
    return read(store, design(tasks), *cells)


def decided(results: Results, margin: float = 0.02) -> Decision:
    found = decide(results, 1, margin=margin)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("lost", "e2e_s", "answer", "says"),
    [
        (0, 0.5, Answer.YES, "keeps quality within 2 points"),
        (0, 1.0, Answer.NO_GAIN, "No difference in E2E is shown"),
        (0, 2.0, Answer.NO_GAIN, "2.00× slower"),
        (3, 0.5, Answer.OPEN, "more prompts"),
        (60, 0.5, Answer.NO, "worse by"),
    ],
)
def test_it_takes_quality_kept_and_something_gained(
    store: RunStore, lost: int, e2e_s: float, answer: Answer, says: str
) -> None:
    found = decided(held(store, [0.0] * lost + RIGHT[lost:], e2e_s))
    assert found.answer is answer
    assert says in " ".join(found.because)
    assert found.turn


def test_less_memory_is_a_gain_too(store: RunStore) -> None:
    assert decided(held(store, RIGHT, 1.0, weights_bytes=50 << 20)).answer is Answer.YES
    assert decided(held(store, RIGHT, 1.0, weights_bytes=99 << 20)).answer is Answer.NO_GAIN


def test_better_answers_are_a_gain_too(store: RunStore) -> None:
    tasks = sums(N)
    cells = [*answered(0, tasks, [0.0] * 40 + RIGHT[40:]), *answered(1, tasks, RIGHT)]
    assert decided(read(store, design(tasks), *cells)).answer is Answer.YES


def test_one_timed_prompt_cannot_tell_whether_anything_is_gained(store: RunStore) -> None:
    """Nor can ratios that are all the same: no gain is a finding, and this is none."""
    task = Task(id="a", category="Chat", prompt="a", max_tokens=8)
    same = [quality(place, "a", same_text=True, word_f1=1.0) for place in (0, 1)]
    one = decided(read(store, design([task]), *same, speed(0, "a", 1.0), speed(1, "a", 0.5)))
    assert one.answer is Answer.GAIN_UNTOLD
    assert "on 1 prompt: too few prompts to tell of others" in one.because[-1]
    assert one.turn == ("Too few prompts were timed to tell whether it is faster.",)
    untimed = decided(read(store, design([task], name="Untimed"), *same))
    assert untimed.answer is Answer.GAIN_UNTOLD
    assert untimed.turn == ("No prompt was timed with both to tell whether it is faster.",)
    tasks = sums(N)
    cells = [cell for place in (0, 1) for cell in answered(place, tasks, RIGHT)]
    alike = [replace(cell, e2e_s=1.0) if cell.key.kind is Pass.SPEED else cell for cell in cells]
    assert decided(read(store, design(tasks, name="Alike"), *alike)).answer is Answer.GAIN_UNTOLD
    lighter = [replace(each, weights_bytes=2 - each.key.configuration) for each in (*alike,)]
    assert decided(read(store, design(tasks, name="Lighter"), *lighter)).answer is Answer.YES


def test_how_far_the_model_is_from_16_bits_stands_beside_likeness(store: RunStore) -> None:
    task = Task(id="a", category="Chat", prompt="a", max_tokens=8)
    other = quality(1, "a", same_text=False, word_f1=0.5, kld=0.0123, kld_tokens=9)
    found = decided(read(store, design([task]), quality(0, "a", same_text=True, word_f1=1.0), other))
    assert found.answer is Answer.UNSCORED
    assert found.because[1].startswith("KLD from 16 bits is 0.0123 nats per token along the baseline's answers")
    without = decided(held(store, RIGHT, 0.5))
    assert without.kld_text.startswith("KLD from 16 bits: none. It is measured once")
    assert "KLD" not in " ".join(without.because)


def test_another_margin_turns_the_answer(store: RunStore) -> None:
    results = held(store, [0.0] * 3 + RIGHT[3:], 0.5)
    assert decided(results, 0.02).answer is Answer.OPEN
    assert decided(results, 0.10).answer is Answer.YES
    assert decided(results, 0.001).answer is not Answer.YES


def test_where_nothing_says_what_is_right_likeness_is_told_and_no_verdict_given(store: RunStore) -> None:
    tasks = [Task(id=name, category="Chat", prompt=name, max_tokens=8) for name in ("a", "b")]
    same, other = {"same_text": True, "word_f1": 1.0}, {"same_text": False, "word_f1": 0.5}

    def cells(second: dict[str, object]) -> Results:
        quiet = [quality(place, "a", **same) for place in (0, 1)]
        timed = [speed(0, "a", 1.0), speed(0, "b", 1.0), speed(1, "a", 0.5), speed(1, "b", 0.49)]
        return read(store, design(tasks), *quiet, quality(0, "b", **same), quality(1, "b", **second), *timed)

    found = decided(cells(other))
    assert found.answer is Answer.UNSCORED
    assert found.quality is None
    assert "50 % are the baseline's word for word; word F1 is 75 %" in found.because[0]
    assert decided(cells(same)).answer is Answer.YES  # the very same answers need no checker


def test_only_prompts_that_both_have_answered_count(store: RunStore) -> None:
    tasks = sums(4)
    results = read(store, design(tasks), *answered(0, tasks, [1.0] * 4), *answered(1, tasks[:1], [1.0]))
    assert decided(results).prompts == 1
    nothing = read(store, design(tasks, name="Begun"), *answered(0, tasks, [1.0] * 4))
    assert decide(nothing, 1, margin=0.02) is None


def test_a_failure_is_compared_and_counts_as_wrong(store: RunStore) -> None:
    tasks = sums(2)
    cells = [*answered(0, tasks, [1.0, 1.0]), quality(1, "sum 0", 1.0), quality(1, "sum 1", failure="No memory.")]
    found = decided(read(store, design(tasks), *cells))
    assert found.quality is not None
    assert (found.prompts, found.quality.lost) == (2, ("sum 1",))


def test_some_prompts_can_be_looked_at_alone(store: RunStore) -> None:
    results = held(store, [float(n % 2 == 0) for n in range(N)], 0.5)
    easy = np.array([category == "Easy" for category in results.categories])
    found = decide(results, 1, margin=0.05, among=easy)
    assert found is not None
    assert (found.prompts, found.answer) == (N // 2, Answer.YES)
    assert decide(results, 1, margin=0.02, among=np.zeros(N, dtype=bool)) is None


def test_times_alone_are_no_verdict_on_quality(store: RunStore) -> None:
    made = design(TASKS, [configuration("16 bits"), configuration("int4")], passes=[Pass.SPEED])
    cells = [speed(place, task.id, 1.0 - place / 2) for task in TASKS for place in (0, 1)]
    found = decided(read(store, made, *cells))
    assert found.answer is Answer.UNSCORED
    assert found.speed.ratio is not None
    assert found.speed.ratio.ratio == pytest.approx(2.0)
