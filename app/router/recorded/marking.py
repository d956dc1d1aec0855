"""The scores that count: the checker's, unless somebody says otherwise; a judge's, or likeness, where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.store import KeptMark, KeptVerdict, answer_sha256
from engine.cascade import RoutedPrompt
from engine.cascade.reporting.consistency import word_f1
from engine.evaluation.judge import JUDGED
from engine.evaluation.tasks import Task


@dataclass(frozen=True, slots=True)
class Judgement:
    """A score that is not the checker's."""

    how: Literal["mark", "likeness", "judge"]
    automatic: float | None
    """The score without it; ``None`` where there is none."""
    mark: KeptMark | None = None
    """What somebody said."""
    verdicts: tuple[KeptVerdict, ...] = ()
    """What judges say, the latest last: that one counts."""


def judged(
    prompts: Sequence[RoutedPrompt],
    tasks: Mapping[str, Task],
    tiers: Sequence[str],
    marks: Sequence[KeptMark],
    verdicts: Mapping[tuple[str, str, str], tuple[KeptVerdict, ...]],
) -> tuple[tuple[RoutedPrompt, ...], dict[tuple[str, str], Judgement]]:
    """The prompts with the scores that count, and which of these are not the checker's, by prompt and tier.

    A prompt without a checker is scored by the likeness of each answer to the largest tier's: the F1 of their words,
    1 for the largest itself. A prompt that a model judges is scored by the latest verdict. A mark and a verdict count
    for the text that was read, and no other.

    Args:
        prompts: as they were recorded.
        tasks: their checkers, by id. Where a task is not known, an answer without a score stays so.
        tiers: from the smallest up.
        marks: what is said of single answers.
        verdicts: what judges say, by prompt, tier and hash of the answer, the latest last.
    """
    said = {(mark.prompt_id, mark.tier, mark.answer_sha256): mark for mark in marks}
    marked = {mark.prompt_id for mark in marks}
    largest = tiers[-1] if len(tiers) > 1 else None
    found: dict[tuple[str, str], Judgement] = {}
    scored = []
    for prompt in prompts:
        answers = dict(prompt.answers)
        task = tasks.get(prompt.prompt_id)
        if task is not None and task.checker is None and largest in answers:
            for tier, answer in prompt.answers.items():
                found[prompt.prompt_id, tier] = Judgement("likeness", None)
                likeness = 1.0 if tier == largest else word_f1(answer.text, answers[largest].text)
                answers[tier] = replace(answer, score=likeness)
        elif task is not None and task.checker == JUDGED:
            for tier, answer in prompt.answers.items():
                if said_of := verdicts.get((prompt.prompt_id, tier, answer_sha256(answer.text))):
                    right = said_of[-1].verdict.right
                    found[prompt.prompt_id, tier] = Judgement("judge", None, verdicts=said_of)
                    answers[tier] = replace(answer, score=None if right is None else float(right))
        if prompt.prompt_id in marked:
            for tier, answer in prompt.answers.items():
                if mark := said.get((prompt.prompt_id, tier, answer_sha256(answer.text))):
                    before = found.get((prompt.prompt_id, tier))
                    judges = before.verdicts if before else ()
                    found[prompt.prompt_id, tier] = Judgement("mark", answers[tier].score, mark, judges)
                    answers[tier] = replace(answers[tier], score=float(mark.right))
        changed = answers != dict(prompt.answers)
        scored.append(replace(prompt, answers=answers) if changed else prompt)
    return tuple(scored), found
