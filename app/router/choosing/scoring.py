"""The routers of the Router lab: what each learns from, and how it scores recorded prompts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

import numpy as np
import numpy.typing as npt

from engine.cascade import (
    NEVER,
    BoundaryRouter,
    FeatureTable,
    LogisticWeights,
    RoutedPrompt,
    RouterKind,
    SureBand,
    answer_table,
    learn,
    needs_larger,
    prompt_table,
    reading_table,
    router_class,
)
from engine.cascade.routing.signals import FIRST_TOKENS

Floats = npt.NDArray[np.float64]

SURE_SHARE = 0.1
"""Of the prompts at either end that a hybrid decides without a try."""


class Choice(StrEnum):
    """A router to look at."""

    ESCALATE = "Escalate"
    ESCALATE_LEARNED = "Escalate, learned"
    ESCALATE_EARLY = "Escalate early, learned"
    ROUTE_LEARNED = "Route, learned"
    READ_LEARNED = "Route after reading, learned"
    HYBRID_LEARNED = "Hybrid, learned"
    CHANCE = "Chance"
    ORACLE = "Oracle"

    @property
    def kind(self) -> RouterKind:
        """When, and on what, it decides."""
        match self:
            case Choice.ESCALATE | Choice.ESCALATE_LEARNED | Choice.ESCALATE_EARLY:
                return RouterKind.ESCALATE
            case Choice.ROUTE_LEARNED | Choice.READ_LEARNED:
                return RouterKind.ROUTE
            case Choice.HYBRID_LEARNED:
                return RouterKind.HYBRID
            case Choice.CHANCE:
                return RouterKind.RANDOM
            case Choice.ORACLE:
                return RouterKind.ORACLE
            case _:
                assert_never(self)

    @property
    def learns(self) -> bool:
        """Whether it is made from recorded answers."""
        return self not in (Choice.ESCALATE, Choice.CHANCE, Choice.ORACLE)

    @property
    def reads(self) -> bool:
        """Whether the small model reads a prompt before the prompt is judged."""
        return self is Choice.READ_LEARNED

    @property
    def after_tokens(self) -> int | None:
        """By how many first tokens it judges an answer; ``None`` for all of them."""
        return FIRST_TOKENS if self is Choice.ESCALATE_EARLY else None


def learn_router(
    prompts: Sequence[RoutedPrompt], weak: str, strong: str, choice: Choice
) -> tuple[BoundaryRouter, int, str]:
    """The router, from how many prompts it was learned, and why it was not. Its threshold is not chosen yet."""
    weak_score, strong_score = (
        np.array([prompt.answers[tier].score for prompt in prompts], np.float64) for tier in (weak, strong)
    )
    label = needs_larger(weak_score, strong_score)
    of_prompt: LogisticWeights | None = None
    of_answer: LogisticWeights | None = None
    reason, rows, router = "", 0, router_class(choice.kind)
    band = SureBand(keep_below=0.0, up_from=NEVER) if router.has_band else None
    if router.reads_prompt:
        table = _prompts_judged(prompts, weak, reads_first=choice.reads)
        learned = learn(table, label)
        of_prompt, reason, rows = learned.weights, learned.reason, learned.prompts
        if band and of_prompt:
            band = _sure_band(of_prompt.score(table))
    if router.reads_answer:
        learned = learn(answers_judged(prompts, weak, choice.after_tokens), label)
        of_answer, reason, rows = learned.weights, learned.reason or reason, max(rows, learned.prompts)
    found = BoundaryRouter(threshold=NEVER, prompt_weights=of_prompt, answer_weights=of_answer, band=band)
    return found, rows if of_prompt or of_answer else 0, reason


def _prompts_judged(prompts: Sequence[RoutedPrompt], weak: str, *, reads_first: bool) -> FeatureTable:
    """Features of prompts: of their text, and of what the smaller tier made of them where it has read them."""
    if not reads_first:
        return prompt_table(texts(prompts))
    answers = [prompt.answers[weak] for prompt in prompts]
    # some may have been recorded before hidden states were
    return reading_table(texts(prompts), answers, hidden=all(answer.hidden for answer in answers))


def _sure_band(scores: Floats) -> SureBand:
    low, high = np.nanquantile(scores, [SURE_SHARE, 1 - SURE_SHARE]).tolist()
    return SureBand(keep_below=low, up_from=high)


def score_prompts(
    prompts: Sequence[RoutedPrompt],
    weak: str,
    strong: str,
    kind: RouterKind,
    router: BoundaryRouter,
    after_tokens: int | None,
) -> tuple[Floats, Floats]:
    """Scores, and what the small model took until there was one, in seconds; ``[prompts]`` each."""
    judged = router_class(kind)(boundary=router, after_tokens=after_tokens).judge(prompts, weak, strong)
    return judged.score, judged.tried_s


def texts(prompts: Sequence[RoutedPrompt]) -> list[str]:
    """The prompts themselves."""
    return [prompt.prompt for prompt in prompts]


def answers_judged(prompts: Sequence[RoutedPrompt], tier: str, after_tokens: int | None) -> FeatureTable:
    """The signals of a tier's answers, or of their first tokens."""
    return answer_table([prompt.answers[tier].after(after_tokens) for prompt in prompts])
