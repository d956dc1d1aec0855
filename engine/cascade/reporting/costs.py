"""What an answer would cost elsewhere: on another machine, or by a price list.

Both are the same arithmetic: so much an answer, so much a prompt token, so much a token written. On a machine these are
its overhead, prefill and step times, fitted to what it recorded; on a price list they are prices. What they give is
derived, and marked so wherever it is shown.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from engine.cascade.routing.records import RoutedPrompt, TierAnswer
from engine.errors import RecordedPairsError
from engine.untrusted import parse_json

FORMAT = 1
SECONDS = "s"
MOST_BYTES = 2**20
_PAIRED = 200
"""Answers whose slopes are paired: enough for a median, and some 20,000 pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Of one tier, in one unit: seconds or money."""

    per_answer: float
    per_prompt_token: float
    per_completion_token: float
    error: float | None = None
    """Median of |derived − measured| / measured over the answers it was fitted to; ``None`` where it was not fitted."""

    def __post_init__(self) -> None:
        figures = (self.per_answer, self.per_prompt_token, self.per_completion_token, self.error or 0.0)
        _check(all(math.isfinite(figure) and figure >= 0 for figure in figures), "a rate is negative or no number")

    @classmethod
    def of(cls, answers: Sequence[TierAnswer]) -> Self:
        """A machine's times from what it recorded, by medians that a few disturbed answers do not move.

        The step is the median time a token after the first; the prefill the median slope of the time to the first token
        over prompts' lengths (Theil and Sen); the overhead what is left at the median.

        Raises:
            RecordedPairsError: no answer has two tokens or more.
        """
        written = [answer for answer in answers if answer.ttft_s is not None and answer.completion_tokens > 1]
        _check(bool(written), "no answer has two tokens or more, so no time a token can be told")
        steps = [(each.e2e_s - each.first_token_s) / (each.completion_tokens - 1) for each in written]
        step = max(0.0, float(np.median(steps)))
        length = np.array([answer.prompt_tokens for answer in written], np.float64)
        first = np.array([answer.first_token_s for answer in written])
        slope = _slope(length, first)
        overhead = max(0.0, float(np.median(first - slope * length)) - step)
        made = cls(per_answer=overhead, per_prompt_token=slope, per_completion_token=step)
        measured = np.array([answer.e2e_s for answer in written])
        derived = np.array([made.cost(answer) for answer in written])
        known = measured > 0
        error = float(np.median(np.abs(derived - measured)[known] / measured[known])) if known.any() else None
        return replace(made, error=error)

    def cost(self, answer: TierAnswer, tokens: int | None = None) -> float:
        """Of an answer, or of so many first tokens of it."""
        written = answer.completion_tokens if tokens is None else tokens
        return self.per_answer + self.per_prompt_token * answer.prompt_tokens + self.per_completion_token * written

    def applied(self, answer: TierAnswer) -> TierAnswer:
        """An answer as if it had cost this much."""
        started = self.cost(answer, 0)
        return replace(
            answer,
            prefill_s=started,
            ttft_s=None if answer.ttft_s is None else self.cost(answer, min(1, answer.completion_tokens)),
            e2e_s=self.cost(answer),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What answers cost somewhere, by tier."""

    name: str
    """Of the machine, or of the price list."""
    unit: str
    """:data:`SECONDS`, or a currency's sign."""
    tiers: Mapping[str, Rates]
    """By :attr:`engine.types.Tier.key`."""

    def __post_init__(self) -> None:
        _check(bool(self.name.strip()) and bool(self.unit.strip()), "it has no name or no unit")
        _check(bool(self.tiers), "it knows no tier")

    @property
    def in_seconds(self) -> bool:
        """Whether these are times."""
        return self.unit == SECONDS

    @classmethod
    def measured(cls, name: str, prompts: Iterable[RoutedPrompt]) -> Self:
        """A machine's times from a data set that it recorded, of all tiers whose times can be told.

        Raises:
            RecordedPairsError: they can be told of none.
        """
        answers: dict[str, list[TierAnswer]] = {}
        for prompt in prompts:
            for tier, answer in prompt.answers.items():
                answers.setdefault(tier, []).append(answer)
        told = {tier: each for tier, each in answers.items() if any(answer.completion_tokens > 1 for answer in each)}
        return cls(name=name, unit=SECONDS, tiers={tier: Rates.of(each) for tier, each in sorted(told.items())})

    def applied(self, prompts: Iterable[RoutedPrompt], tiers: Sequence[str]) -> tuple[RoutedPrompt, ...]:
        """Recorded prompts as if these tiers' answers had cost this much; other tiers' answers are left out.

        Raises:
            RecordedPairsError: it does not know one of the tiers.
        """
        for tier in tiers:
            _check(tier in self.tiers, f"“{self.name}” says nothing of {tier}, only of {', '.join(self.tiers)}")
        return tuple(
            replace(
                prompt,
                answers={
                    tier: self.tiers[tier].applied(answer) for tier, answer in prompt.answers.items() if tier in tiers
                },
            )
            for prompt in prompts
        )

    def to_json(self) -> str:
        """As a file."""
        tiers = {tier: asdict(rates) for tier, rates in self.tiers.items()}
        tree = {"format": FORMAT, "name": self.name, "unit": self.unit, "tiers": tiers}
        return json.dumps(tree, ensure_ascii=False, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """The inverse of :meth:`to_json`.

        Raises:
            RecordedPairsError: this is no such file.
        """
        _check(len(data) <= MOST_BYTES, "the file is too large")
        try:
            tree: Any = parse_json(data)
            _check(tree["format"] == FORMAT, f"it has format {tree['format']}, and this Gearbox reads format {FORMAT}")
            tiers = {
                str(tier): Rates(**{name: None if value is None else float(value) for name, value in rates.items()})  # type: ignore[arg-type]
                for tier, rates in tree["tiers"].items()
            }
            return cls(name=str(tree["name"]), unit=str(tree["unit"]), tiers=tiers)
        except RecordedPairsError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordedPairsError(f"These are no times of a machine: {error!r}.") from error


def _slope(length: np.ndarray, first: np.ndarray) -> float:
    """The median slope over pairs of answers of different length; 0 where there is none."""
    if len(length) > _PAIRED:
        some = np.linspace(0, len(length) - 1, _PAIRED).astype(np.intp)
        length, first = length[some], first[some]
    row, column = np.triu_indices(len(length), 1)
    apart = length[row] != length[column]
    if not apart.any():
        return 0.0
    slopes = (first[row] - first[column])[apart] / (length[row] - length[column])[apart]
    return max(0.0, float(np.median(slopes)))


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise RecordedPairsError(f"These costs cannot be used: {message}.")
