"""Two neighbouring tiers on the same prompts, as arrays: what a threshold would have given and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from engine.cascade.routing.records import RoutedPrompt, TierAnswer
from engine.cascade.routing.scores import Bools, Floats, escalates
from engine.errors import RecordedPairsError
from engine.types import NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryData:
    """What was recorded at one boundary; every array is ``[prompts]``, in the same order.

    Costs are in one unit, seconds unless the caller says otherwise. Going up costs the router, the large run,
    and what the small model had done until then.
    """

    ids: tuple[str, ...]
    categories: tuple[str, ...]
    texts: tuple[str, ...]
    """Of the prompts: one may stand there more than once, with another answer expected each time."""
    weak_score: Floats
    """How right the small model's answer is, 0 to 1."""
    strong_score: Floats
    router_score: Floats
    """NaN where it is unknown: such a prompt goes up."""
    weak_cost: Floats
    strong_cost: Floats
    extra_cost: Floats
    """Of the router itself, on every prompt."""
    tried_cost: Floats
    """What the small model has cost by the time it is decided: 0 where the prompt's text decides, its whole answer
    where that is judged, and in between where the first tokens are."""
    weak_ttft_s: Floats
    strong_ttft_s: Floats

    def __post_init__(self) -> None:
        if not self.ids:
            raise RecordedPairsError("There is no prompt that both models answered with a score.")
        if any(len(getattr(self, field.name)) != len(self.ids) for field in fields(self)):
            raise ValueError("the arrays of a boundary are not equally long")
        costs = self.weak_cost + self.strong_cost + self.extra_cost + self.tried_cost
        if np.isnan(self.weak_score + self.strong_score + costs).any():
            raise ValueError("only a router's score may be NaN")

    def __len__(self) -> int:
        """How many prompts there are."""
        return len(self.ids)

    @classmethod
    def of(
        cls,
        prompts: Sequence[RoutedPrompt],
        weak: str,
        strong: str,
        router_score: Floats,
        *,
        tried_s: Floats | float,
        extra_s: Floats | float = 0.0,
    ) -> Self:
        """From records; costs are the answers' E2E, in seconds.

        Args:
            prompts: each with a scored answer of both tiers.
            weak: the smaller tier's key.
            strong: the larger tier's key.
            router_score: ``[prompts]``.
            tried_s: what the small model took until it was decided, in seconds: 0 for ``route``, its answer's E2E
                for ``escalate``.
            extra_s: what the router itself took, in seconds.

        Raises:
            RecordedPairsError: there is no prompt, or one lacks a scored answer.
        """
        n = len(prompts)
        pairs = [(_answer(prompt, weak), _answer(prompt, strong)) for prompt in prompts]
        return cls(
            ids=tuple(prompt.prompt_id for prompt in prompts),
            categories=tuple(prompt.category for prompt in prompts),
            texts=tuple(prompt.prompt for prompt in prompts),
            weak_score=np.array([small.score for small, _ in pairs], np.float64),
            strong_score=np.array([large.score for _, large in pairs], np.float64),
            router_score=np.asarray(router_score, np.float64),
            weak_cost=np.array([small.e2e_s for small, _ in pairs]),
            strong_cost=np.array([large.e2e_s for _, large in pairs]),
            extra_cost=np.broadcast_to(np.asarray(extra_s, np.float64), (n,)),
            tried_cost=np.broadcast_to(np.asarray(tried_s, np.float64), (n,)),
            weak_ttft_s=np.array([small.first_token_s for small, _ in pairs]),
            strong_ttft_s=np.array([large.first_token_s for _, large in pairs]),
        )

    def rows(self, index: npt.NDArray[np.intp]) -> Self:
        """Some prompts, in the order asked for."""
        chosen: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, values in chosen.items():
            chosen[name] = tuple(values[i] for i in index) if isinstance(values, tuple) else values[index]
        return type(self)(**chosen)

    @property
    def unknown(self) -> int:
        """Prompts whose router score is NaN."""
        return int(np.isnan(self.router_score).sum())

    @property
    def up_cost(self) -> Floats:
        """What a prompt costs if it goes up, ``[prompts]``."""
        return self.strong_cost + self.extra_cost + self.tried_cost

    @property
    def tried(self) -> Bools:
        """Who had the small model begin before it was decided, ``[prompts]``."""
        return self.tried_cost > 0

    @property
    def kept_cost(self) -> Floats:
        """What a prompt costs if it stays, ``[prompts]``."""
        return self.weak_cost + self.extra_cost

    def up(self, threshold: float) -> Bools:
        """Who goes up at a threshold, ``[prompts]``."""
        return escalates(self.router_score, threshold)

    def cost(self, up: Bools) -> Floats:
        """What each prompt costs if these go up, ``[prompts]``."""
        return np.where(up, self.up_cost, self.kept_cost)

    def quality(self, up: Bools) -> Floats:
        """The kept answers' scores if these go up, ``[prompts]``."""
        return np.where(up, self.strong_score, self.weak_score)

    def ttft_s(self, up: Bools) -> Floats:
        """Seconds to the first token of the answer that is kept, if these go up, ``[prompts]``.

        What is thrown away of a small answer comes before it. One that is kept streamed from its own first token
        on; only a router that decides before generating delays that.
        """
        delay = np.where(self.tried, 0.0, self.extra_cost)
        return np.where(up, self.strong_ttft_s + self.tried_cost + self.extra_cost, self.weak_ttft_s + delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What every threshold would have given; arrays ``[points]``, from the highest threshold down.

    The first point is :data:`~engine.types.NEVER`: only NaN scores go up. Each further point is a
    score that occurs; prompts of one score move together.
    """

    thresholds: Floats
    share: Floats
    """Strong-call share, 0 to 1."""
    quality: Floats
    """Mean score of the kept answers."""
    cost: Floats
    """Mean per prompt."""

    @classmethod
    def of(cls, data: BoundaryData) -> Self:
        """All thresholds at once: one sort and running sums."""
        order, ends = descending(data.router_score)
        scores = data.router_score[order[ends - 1]]
        if not np.isnan(scores[0]):
            scores, ends = np.append(np.nan, scores), np.append(0, ends)
        return cls(
            thresholds=np.where(np.isnan(scores), NEVER, scores),
            share=ends / len(data),
            quality=_running_mean(data.weak_score, (data.strong_score - data.weak_score)[order])[ends],
            cost=_running_mean(data.kept_cost, (data.up_cost - data.kept_cost)[order])[ends],
        )

    def from_point(self, first: int) -> Self:
        """The curve without the points before ``first``."""
        return type(self)(
            thresholds=self.thresholds[first:],
            share=self.share[first:],
            quality=self.quality[first:],
            cost=self.cost[first:],
        )


def descending(score: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The order in which prompts go up as a threshold falls, NaN first, and after how many each group of
    equal scores ends."""
    rank = np.where(np.isnan(score), np.inf, score)
    order = np.argsort(-rank, kind="stable")
    rank = rank[order]
    return order, np.flatnonzero(np.append(rank[:-1] != rank[1:], True)) + 1


def _running_mean(base: Floats, changes: Floats) -> Floats:
    """Mean of ``base`` after the first 0, 1, … n ``changes`` were added, ``[n + 1]``."""
    means: Floats = (base.sum() + np.append(0.0, np.cumsum(changes))) / len(base)
    return means


def _answer(prompt: RoutedPrompt, tier: str) -> TierAnswer:
    answer = prompt.answers.get(tier)
    if answer is None or answer.score is None:
        raise RecordedPairsError(f"The prompt “{prompt.prompt_id}” has no scored answer of {tier}.")
    return answer
