"""What answers that were given beside others would have taken alone, from some that had the engine alone.

The time to the first token is a line in the number of prompt tokens, by least squares; the time of each token after it
is their median.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Self

from app.store import estimated_from
from engine import Task
from engine.cascade import TierAnswer

TIMED_ALONE = 8
"""Prompts of a tier that have the engine alone where the others are answered together."""
FEW = 12
"""So many prompts of a tier, and fewer, all have the engine alone: there is little to gain."""
_FEWEST_QUIET = 4
"""From so many on, those that were disturbed are left out."""


def to_time(left: Sequence[Task], timed: int = 0) -> list[Task]:
    """The prompts that have the engine alone: all where they are few, else some.

    Args:
        left: still to be answered.
        timed: other answers of which the times are known.
    """
    return some_of_all_lengths(left, len(left) if len(left) <= FEW else TIMED_ALONE - timed)


def some_of_all_lengths(tasks: Sequence[Task], count: int) -> list[Task]:
    """So many prompts, from short to long in even steps of rank, in the order in which they stand there."""
    count = min(max(0, count), len(tasks))
    by_length = sorted(range(len(tasks)), key=lambda place: len(tasks[place].transcript))
    chosen = {by_length[(2 * n + 1) * len(tasks) // (2 * count)] for n in range(count)}
    return [task for place, task in enumerate(tasks) if place in chosen]


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer that had the engine alone."""

    answer: TierAnswer
    disturbed: str | None
    """What held it up all the same, for the user."""


@dataclass(frozen=True, slots=True)
class Line:
    """A time in seconds by the number of prompt tokens, never falling and never below 0."""

    base_s: float
    slope_s: float

    @classmethod
    def through(cls, points: Sequence[tuple[int, float]]) -> Self:
        """By least squares, under that condition.

        Args:
            points: prompt tokens and seconds, at least one.
        """
        from scipy.optimize import nnls  # takes a while to import

        (base_s, slope_s), _ = nnls([(1.0, tokens) for tokens, _ in points], [seconds for _, seconds in points])
        return cls(float(base_s), float(slope_s))

    def at(self, prompt_tokens: int) -> float:
        """Seconds."""
        return self.base_s + self.slope_s * prompt_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTimes:
    """What a tier's answers take alone."""

    prefill: Line
    first_token: Line
    step_s: float | None
    """For each token after the first; ``None`` where no answer had any."""
    answers: int
    """From so many it is told."""
    disturbed: str | None
    """What held these up, for the user."""

    @classmethod
    def of(cls, timed: Sequence[Timed]) -> Self:
        """From answers that had the engine alone, at least one. Disturbed ones count only where others are too few."""
        quiet = [each for each in timed if not each.disturbed]
        used = quiet if len(quiet) >= _FEWEST_QUIET else timed
        answers = [each.answer for each in used]
        steps = [
            (answer.e2e_s - answer.first_token_s) / (answer.completion_tokens - 1)
            for answer in answers
            if answer.completion_tokens > 1
        ]
        return cls(
            prefill=Line.through([(answer.prompt_tokens, answer.prefill_s) for answer in answers]),
            first_token=Line.through([(answer.prompt_tokens, answer.first_token_s) for answer in answers]),
            step_s=max(0.0, median(steps)) if steps else None,
            answers=len(answers),
            disturbed=next((each.disturbed for each in used if each.disturbed), None),
        )

    def applied(self, answer: TierAnswer) -> TierAnswer | None:
        """An answer that was given beside others, with the times that it would have had alone; ``None`` where these
        cannot be told."""
        steps = max(0, answer.completion_tokens - 1)
        if steps and self.step_s is None:
            return None
        first_token_s = self.first_token.at(answer.prompt_tokens)
        return replace(
            answer,
            prefill_s=min(self.prefill.at(answer.prompt_tokens), first_token_s),
            ttft_s=None if answer.ttft_s is None else first_token_s,
            e2e_s=first_token_s + steps * (self.step_s or 0.0),
        )

    @property
    def environment(self) -> dict[str, Any]:
        """What the environment of such an answer says of its times."""
        return {"disturbed": self.disturbed, **estimated_from(self.answers)}
