"""The cascade's guard on recorded answers: what it costs against the large model alone. No model is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from engine.cascade import (
    BoundaryRouter,
    Guard,
    KeepQuality,
    RoutedPrompt,
    RouterKind,
    TierAnswer,
    escalates,
    read_prompts,
    router_class,
    scored_by_both,
    select,
)
from engine.serving.counterfactual import Lengths, Pace
from tests.benchmarks.cascade import BOUNDARIES, PAIRS
from tests.benchmarks.table import Row

PROMPTS = 200
SEEDS = 20
DEFAULT = 0.30
LADDER = (BOUNDARIES[0][0], *BOUNDARIES[1])
_PAYS = 0.98
"""Cost without the guard, against the large model alone, below which a cascade counts as one that pays."""

Ints = npt.NDArray[np.intp]


@dataclass(slots=True)
class Cascaded:
    """What a stream of prompts took."""

    took_s: float = 0.0
    alone_s: float = 0.0
    tries: int = 0
    went_up: int = 0
    derived_s: float = 0.0
    """What the large model alone would have taken where a smaller one's answer was kept, as the engine derives it."""
    kept_alone_s: float = 0.0
    """What it did take there."""

    @property
    def cost(self) -> float:
        """Against the large model alone."""
        return self.took_s / self.alone_s


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recorded answers of a ladder, and where each tier's is not kept."""

    prompts: Sequence[RoutedPrompt]
    ladder: tuple[str, ...]
    up: Sequence[npt.NDArray[np.bool_]]
    """Of each smaller tier, ``[prompts]``."""

    def run(self, order: Ints, *, guarded: bool) -> Cascaded:
        """Ask the prompts in an order, as the engine would: what a kept answer saved is derived, not known."""
        *smaller, largest = self.ladder
        guards = [Guard(tier, 1 / len(smaller)) for tier in smaller]
        pace, done = self._timed(), Cascaded()
        lengths = [Lengths() for _ in smaller]
        for index in order:
            answers = self.prompts[index].answers
            large, took_s, tried = answers[largest], 0.0, []
            kept: TierAnswer | None = None
            for place, tier in enumerate(smaller):
                if guarded and not guards[place].choose():
                    continue
                took_s += answers[tier].e2e_s
                tried.append(place)
                if not self.up[place][index]:
                    kept = answers[tier]
                    break
            if kept is None:
                took_s += large.e2e_s
                _learn(pace, large)
                for place in tried:
                    lengths[place].observe(answers[smaller[place]].completion_tokens, large.completion_tokens)
                large_s: float | None = large.e2e_s
            else:
                tokens = round(kept.completion_tokens * lengths[tried[-1]].ratio)
                large_s = pace.seconds(kept.prompt_tokens, tokens, None)
            assert large_s is not None
            for place, guard in enumerate(guards):
                if place in tried and kept is not answers[smaller[place]]:
                    guard.observe_lost(answers[smaller[place]].e2e_s, large_s)
                elif place in tried:
                    guard.observe_kept(answers[smaller[place]].e2e_s, large_s)
                elif kept is None or place < tried[-1]:
                    guard.observe_passed(large_s)
            done.took_s += took_s
            done.alone_s += large.e2e_s
            done.tries += len(tried)
            done.went_up += kept is None
            if kept is not None:
                done.derived_s += large_s
                done.kept_alone_s += large.e2e_s
        return done

    def _timed(self) -> Pace:
        """Stands for the passes that the engine times when it loads the model."""
        pace = Pace()
        for prompt in self.prompts[:10]:
            _learn(pace, prompt.answers[self.ladder[-1]])
        return pace


def _learn(pace: Pace, large: TierAnswer) -> None:
    pace.observe(large.prompt_tokens, large.prefill_s, large.completion_tokens, large.e2e_s)


def orders(categories: Sequence[str], seeds: int = SEEDS, most: int = PROMPTS) -> Iterator[tuple[str, Ints]]:
    """Streams of prompts: in random order, sorted by category, the categories in random order, and of one category,
    each in turn, its prompts asked again and again."""
    names = sorted(set(categories))
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        drawn = draw.permutation(len(categories))[:most]
        rank = dict(zip(names, draw.permutation(len(names)), strict=True))
        yield "random", drawn
        yield "sorted", drawn[np.argsort([rank[categories[index]] for index in drawn], kind="stable")]
        alike = np.flatnonzero([category == names[seed % len(names)] for category in categories])
        yield "one category", draw.choice(alike, most)


def run(pairs: Sequence[Path]) -> list[Row]:
    """Each boundary of each recorded set, and the ladder of three, at the default threshold and at one that was chosen
    to keep 95 % of the quality.

    Args:
        pairs: files of recorded answers, beside those that come with Gearbox.
    """
    rows: list[Row] = []
    for file in (*sorted(PAIRS.glob("*.jsonl")), *pairs):
        prompts = read_prompts(file)
        for ladder in (*BOUNDARIES, LADDER):
            asked = [prompt for prompt in prompts if all(tier in prompt.answers for tier in ladder)]
            if not asked:
                continue
            chosen = tuple(_chosen(prompts, *two) for two in pairwise(ladder))
            for title, thresholds in (("default", (DEFAULT,) * len(chosen)), ("keep 95 %", chosen)):
                rows += _rows(file.stem, asked, ladder, title, thresholds)
    return rows


def _chosen(prompts: Sequence[RoutedPrompt], weak: str, strong: str) -> float:
    scored = scored_by_both(prompts, weak, strong)
    return select(Study.of(scored, weak, strong, Choice.ESCALATE).data, KeepQuality(0.95)).threshold


def _rows(
    name: str, prompts: Sequence[RoutedPrompt], ladder: tuple[str, ...], title: str, thresholds: Sequence[float]
) -> Iterator[Row]:
    recorded = Recorded(prompts, ladder, [_up(prompts, *each) for each in zip(ladder, thresholds, strict=False)])
    found: dict[str, list[tuple[Cascaded, Cascaded]]] = {}
    for order, index in orders([prompt.category for prompt in prompts]):
        found.setdefault(order, []).append((recorded.run(index, guarded=False), recorded.run(index, guarded=True)))
    for order, both in found.items():
        free, guarded = (np.array([each.cost for each in column]) for column in zip(*both, strict=True))
        paying = free < _PAYS
        kept = [each for _, each in both if each.kept_alone_s]
        yield {
            "set": name,
            "tiers": " → ".join(ladder),
            "threshold": f"{title} {' and '.join(f'{threshold:.2f}' for threshold in thresholds)}",
            "order": order,
            "prompts": len(index),
            "cost": float(free.mean()),
            "cost_worst": float(free.max()),
            "guarded": float(guarded.mean()),
            "guarded_worst": float(guarded.max()),
            "lost_where_it_pays": float((guarded[paying] / free[paying]).mean() - 1) if paying.any() else None,
            "lost_worst": float((guarded[paying] / free[paying]).max() - 1) if paying.any() else None,
            "went_up": float(np.mean([each.went_up / len(index) for each, _ in both])),
            "went_up_guarded": float(np.mean([each.went_up / len(index) for _, each in both])),
            "tries_guarded": float(np.mean([each.tries for _, each in both])),
            "derived_over_measured": (
                sum(each.derived_s for each in kept) / sum(each.kept_alone_s for each in kept) if kept else None
            ),
        }


def _up(prompts: Sequence[RoutedPrompt], tier: str, threshold: float) -> npt.NDArray[np.bool_]:
    """Whose answer is not kept by a router that nobody has taught."""
    router = router_class(RouterKind.ESCALATE)(boundary=BoundaryRouter(threshold=threshold))
    return escalates(router.judge(prompts, tier, tier).score, threshold)
