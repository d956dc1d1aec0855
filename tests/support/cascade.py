"""Recorded prompts made up for tests of the cascade."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.cascade.reporting.boundary import BoundaryData
from engine.cascade.routing.records import RoutedPrompt, TierAnswer
from engine.cascade.routing.scores import Floats

WEAK, STRONG = "small@int8", "large@int4"


def answer(
    score: float | None = 1.0,
    logprobs: tuple[float, ...] = (-0.1, -0.5, -2.0),
    text: str = "Four.",
    e2e_s: float = 1.0,
    ttft_s: float | None = 0.25,
) -> TierAnswer:
    return TierAnswer(
        text=text,
        token_ids=tuple(range(len(logprobs))),
        score=score,
        prompt_tokens=7,
        completion_tokens=len(logprobs),
        prefill_s=0.2,
        ttft_s=ttft_s,
        e2e_s=e2e_s,
        finish_reason="stop",
        logprobs=logprobs,
        entropies=tuple(-2 * value for value in logprobs),
        margins=tuple(3 + value for value in logprobs),
        repetition=0.0,
    )


def prompt(name: str, weak: TierAnswer, strong: TierAnswer, category: str = "Sums", text: str = "") -> RoutedPrompt:
    return RoutedPrompt(
        prompt_id=name, category=category, prompt=text or f"What is {name}?", answers={WEAK: weak, STRONG: strong}
    )


def boundary(weak: Floats, strong: Floats, router: Floats, *, tried: float = 0.0) -> BoundaryData:
    """Scores of some prompts, at costs of 1 s and 4 s; so much of the first is spent before it is decided."""
    n = len(weak)
    return BoundaryData(
        ids=tuple(f"p{index}" for index in range(n)),
        categories=("all",) * n,
        texts=tuple(f"What is p{index}?" for index in range(n)),
        weak_score=weak,
        strong_score=strong,
        router_score=router,
        weak_cost=np.full(n, 1.0),
        strong_cost=np.full(n, 4.0),
        extra_cost=np.zeros(n),
        tried_cost=np.full(n, tried),
        weak_ttft_s=np.full(n, 0.25),
        strong_ttft_s=np.full(n, 0.75),
    )


def from_counts(both: int, only_weak: int, only_strong: int, neither: int) -> BoundaryData:
    """Prompts counted by who was right; the router's score is the oracle's."""
    weak = np.repeat([1.0, 1.0, 0.0, 0.0], [both, only_weak, only_strong, neither])
    strong = np.repeat([1.0, 0.0, 1.0, 0.0], [both, only_weak, only_strong, neither])
    return boundary(weak, strong, 0.5 + (strong - weak) / 2)


def simulated(prompts: int, seed: int = 0) -> BoundaryData:
    """A small model right on 60 % and a large one on 85 %, with a router that can tell something."""
    rng = np.random.default_rng(seed)
    hard = rng.random(prompts)
    weak, strong = (rng.random(prompts) > hard * reach for reach in (0.8, 0.3))
    router = np.clip(hard + rng.normal(0, 0.15, prompts), 0, 1)
    data = boundary(weak.astype(float), strong.astype(float), router)
    weak_cost = rng.uniform(0.5, 1.5, prompts)
    return replace(
        data,
        categories=tuple(rng.choice(["Facts", "Sums", "Code"], prompts).tolist()),
        weak_cost=weak_cost,
        tried_cost=weak_cost,
        strong_cost=rng.uniform(3, 5, prompts),
        extra_cost=np.full(prompts, 0.01),
    )


def recorded(prompts: int, seed: int = 0, *, weak: float = 0.6, strong: float = 0.9) -> tuple[RoutedPrompt, ...]:
    """Answers of two tiers, right so often; the small one is the surer the righter it is."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(prompts):
        hard = rng.random()
        right, larger = hard < weak, hard < strong
        sure = np.clip(0.1 + 1.5 * hard + rng.normal(0, 0.3, 12), 0.01, None)
        small = answer(float(right), tuple((-sure).round(4).tolist()), text="Four." if right else "Five.")
        large = answer(float(larger), (-0.1,) * 12, text="Four." if larger else "Six.", e2e_s=4.0, ttft_s=0.75)
        category = ("Facts", "Sums", "Code")[index % 3]
        found.append(prompt(f"p{index}", small, large, category, f"What is {'very ' * int(9 * hard)}{index} + 2?"))
    return tuple(found)
