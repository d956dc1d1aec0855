"""Do the tiers say the same, and does a conversation stay with one of them?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from engine.cascade.routing.records import RoutedPrompt
from engine.cascade.routing.scores import escalates

_WORD = re.compile(r"(?:(?<!\w)[-−](?=\d))?\w+(?:[.,]\d+)*")  # a minus is part of its number
RIGHT = 0.5
"""A score above this counts as right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPair:
    """Two tiers' answers to one prompt."""

    prompt_id: str
    category: str
    same: bool
    """The same words, case, punctuation and white space aside."""
    similarity: float
    """F1 of the two answers' word multisets, 0 to 1 (as in SQuAD, arXiv:1606.05250)."""
    weak_right: bool | None
    """``None`` where the prompt has no checker."""
    strong_right: bool | None

    @property
    def contradicts(self) -> bool:
        """Whether one is right and the other wrong."""
        return self.weak_right is not self.strong_right and None not in (self.weak_right, self.strong_right)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierAgreement:
    """How far two tiers agree."""

    pairs: tuple[AnswerPair, ...]
    """The most contradictory first: one right and one wrong, then different words, by rising similarity."""
    both_right: int
    only_weak: int
    only_strong: int
    both_wrong: int
    unscored: int
    same: int
    """Pairs with the same words, scored or not."""
    mean_similarity: float | None
    """``None`` without a pair."""

    @classmethod
    def of(cls, prompts: Sequence[RoutedPrompt], weak: str, strong: str) -> Self:
        """Of the prompts that both tiers answered, scored or not."""
        pairs = [_pair(prompt, weak, strong) for prompt in prompts if {weak, strong} <= prompt.answers.keys()]
        pairs.sort(key=lambda pair: (not pair.contradicts, pair.same, pair.similarity, pair.prompt_id))
        scored = Counter((pair.weak_right, pair.strong_right) for pair in pairs)
        counted = {
            "both_right": scored[True, True],
            "only_weak": scored[True, False],
            "only_strong": scored[False, True],
            "both_wrong": scored[False, False],
        }
        return cls(
            pairs=tuple(pairs),
            **counted,
            unscored=len(pairs) - sum(counted.values()),
            same=sum(pair.same for pair in pairs),
            mean_similarity=float(np.mean([pair.similarity for pair in pairs])) if pairs else None,
        )


def normalized(text: str) -> str:
    """The words of a text in lower case, one space between them; a text without words as it is."""
    return " ".join(_words(text)) or text.strip()


def word_f1(one: str, other: str) -> float:
    """F1 of two texts' word multisets: 2 · shared / all words of both; without words, 1 for equal texts."""
    ours, theirs = Counter(_words(one)), Counter(_words(other))
    words = ours.total() + theirs.total()
    return 2 * (ours & theirs).total() / words if words else float(one.strip() == other.strip())


def changes_tier(turn_scores: Sequence[Sequence[float]], threshold: float) -> float | None:
    """Share of conversations that would not stay with one tier.

    Args:
        turn_scores: each conversation's router scores, turn by turn; NaN goes up.
        threshold: scores from here up go up.

    Returns:
        0 to 1, of the conversations with two turns or more; ``None`` where there is none.
    """
    moves = [escalates(np.array(scores, np.float64), threshold) for scores in turn_scores if len(scores) > 1]
    return sum(bool(up.any() and not up.all()) for up in moves) / len(moves) if moves else None


def _pair(prompt: RoutedPrompt, weak: str, strong: str) -> AnswerPair:
    small, large = prompt.answers[weak], prompt.answers[strong]
    return AnswerPair(
        prompt_id=prompt.prompt_id,
        category=prompt.category,
        same=normalized(small.text) == normalized(large.text),
        similarity=word_f1(small.text, large.text),
        weak_right=None if small.score is None else small.score > RIGHT,
        strong_right=None if large.score is None else large.score > RIGHT,
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
