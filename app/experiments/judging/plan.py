"""Which of an experiment's answers a judge is asked about, and in which order: any beginning of it is a fair sample,
with something of all that the judge's audit needs."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from app.experiments.planning.scoring import has_checker
from app.experiments.results.arrays import Results
from app.store import Cell, JudgeId, JudgementKey, JudgementKind

MOST_CHECKED = 100
"""Prompts with a checker that a judge is asked about, to see how often the two agree."""
MOST_PAIRS = 40
"""Pairs that a judge which grades is asked about, to see whether their order sways it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A text that can be judged."""

    sha256: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Question:
    """About one answer to a prompt, or two."""

    prompt_id: str
    first: Answer
    second: Answer | None = None

    def key(self, judge: JudgeId) -> JudgementKey:
        """Under which what a judge says of it is kept."""
        kind = JudgementKind.SCORE if self.second is None else JudgementKind.PAIR
        return JudgementKey(
            judge, kind, self.prompt_id, self.first.sha256, "" if self.second is None else self.second.sha256
        )


def questions(results: Results, kind: JudgementKind) -> tuple[Question, ...]:
    """All that a judge can be asked. Prompts without a checker take turns with such as have one, at random by the
    design's seed; all questions about a prompt come together.

    Args:
        results: of the experiment so far.
        kind: whether each answer is graded, or held against the baseline's in both orders.
    """
    answers = _answers(results.scored_cells)
    pairs_left, asked = MOST_PAIRS, list[Question]()
    for prompt_id in _order(results):
        pairs = list(_pairs(results, answers, prompt_id))
        if kind is JudgementKind.PAIR:
            asked += chain.from_iterable(pairs)
            continue
        texts = {each.sha256: each for place in range(len(results.names)) for each in answers[place, prompt_id]}
        asked += (Question(prompt_id, each) for each in texts.values())
        if pairs and pairs_left:
            asked += pairs[pairs_left % len(pairs)]
            pairs_left -= 1
    return tuple(asked)


def _answers(cells: Sequence[Cell]) -> Mapping[tuple[int, str], list[Answer]]:
    """By configuration and prompt, in the order of the repeats; those whose run was deleted are left out."""
    found: defaultdict[tuple[int, str], list[Answer]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: cell.key.repeat):
        if cell.run_id and cell.answer_sha256:
            found[cell.key.configuration, cell.key.prompt_id].append(Answer(cell.answer_sha256, cell.run_id))
    return found


def _pairs(
    results: Results, answers: Mapping[tuple[int, str], list[Answer]], prompt_id: str
) -> Iterator[tuple[Question, Question]]:
    """The baseline's first answer and each other one's that is not the same text, once in either order."""
    baseline, seen = answers[results.design.baseline, prompt_id][:1], set[str]()
    for place in range(len(results.names)):
        for before, after in zip(baseline, answers[place, prompt_id][:1], strict=False):
            if after.sha256 not in {before.sha256, *seen}:
                seen.add(after.sha256)
                yield Question(prompt_id, after, before), Question(prompt_id, before, after)


def _order(results: Results) -> list[str]:
    tasks, draw = list(results.design.prompts), random.Random(results.design.seed)
    draw.shuffle(tasks)
    unchecked = [task.id for task in tasks if not has_checker(task)]
    checked = [task.id for task in tasks if has_checker(task)][:MOST_CHECKED]
    return [id for id in chain.from_iterable(zip_longest(unchecked, checked)) if id is not None]
