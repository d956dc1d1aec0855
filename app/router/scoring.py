"""The routers of the Router lab: what each learns from, and how it scores recorded prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

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
    TierAnswer,
    answer_table,
    hybrid_score,
    learn,
    needs_larger,
    oracle_score,
    prompt_table,
    random_score,
    reading_table,
)
from engine.cascade.signals import FIRST_TOKENS

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
        return _KINDS[self]

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


_KINDS = {
    Choice.ESCALATE: RouterKind.ESCALATE,
    Choice.ESCALATE_LEARNED: RouterKind.ESCALATE,
    Choice.ESCALATE_EARLY: RouterKind.ESCALATE,
    Choice.ROUTE_LEARNED: RouterKind.ROUTE,
    Choice.READ_LEARNED: RouterKind.ROUTE,
    Choice.HYBRID_LEARNED: RouterKind.HYBRID,
    Choice.CHANCE: RouterKind.RANDOM,
    Choice.ORACLE: RouterKind.ORACLE,
}


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
    reason, rows, kind = "", 0, choice.kind
    if not all(prompt.answers[weak].hidden for prompt in prompts):  # recorded before hidden states were
        prompts = [_without_hidden(prompt, weak) for prompt in prompts]
    if kind is not RouterKind.ESCALATE:
        table = prompts_judged(prompts, weak, reads_first=choice.reads)
        learned = learn(table, label)
        of_prompt, reason, rows = learned.weights, learned.reason, learned.prompts
    if kind is not RouterKind.ROUTE:
        learned = learn(answers_judged(prompts, weak, choice.after_tokens), label)
        of_answer, reason, rows = learned.weights, learned.reason or reason, max(rows, learned.prompts)
    band = None
    if kind is RouterKind.HYBRID:
        band = _sure_band(of_prompt.score(table)) if of_prompt else SureBand(keep_below=0.0, up_from=NEVER)
    router = BoundaryRouter(threshold=NEVER, prompt_weights=of_prompt, answer_weights=of_answer, band=band)
    return router, rows if of_prompt or of_answer else 0, reason


def _without_hidden(prompt: RoutedPrompt, tier: str) -> RoutedPrompt:
    return replace(prompt, answers={**prompt.answers, tier: replace(prompt.answers[tier], hidden=())})


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
) -> tuple[Floats, Floats | float]:
    """Scores, and what the small model took until there was one, in seconds."""
    match kind:
        case RouterKind.ROUTE:
            score = router.prompt_score(prompts_judged(prompts, weak, reads_first=router.reads_first))
            if not router.reads_first:
                return score, 0.0
            return score, np.array([prompt.answers[weak].first_token_s for prompt in prompts])
        case RouterKind.ESCALATE:
            score = router.answer_score(answers_judged(prompts, weak, after_tokens))
            return score, _tried_s(prompts, weak, after_tokens)
        case RouterKind.HYBRID:
            band = router.band or SureBand(keep_below=0.0, up_from=NEVER)
            of_answer = router.answer_score(answers_judged(prompts, weak, None))
            of_prompt = router.prompt_score(prompts_judged(prompts, weak, reads_first=router.reads_first))
            score, tried = hybrid_score(of_prompt, of_answer, band)
            return score, np.where(tried, _tried_s(prompts, weak, None), 0.0)
        case RouterKind.ORACLE:
            weak_score, strong_score = (
                np.array([prompt.answers[tier].score for prompt in prompts], np.float64) for tier in (weak, strong)
            )
            return oracle_score(weak_score, strong_score), 0.0
        case _:
            return random_score(texts(prompts)), 0.0


def texts(prompts: Sequence[RoutedPrompt]) -> list[str]:
    """The prompts themselves."""
    return [prompt.prompt for prompt in prompts]


def prompts_judged(prompts: Sequence[RoutedPrompt], weak: str, *, reads_first: bool) -> FeatureTable:
    """Features of prompts: of their text, and of what the smaller tier made of them where it has read them."""
    if not reads_first:
        return prompt_table(texts(prompts))
    return reading_table(texts(prompts), [prompt.answers[weak] for prompt in prompts])


def _judged(prompts: Sequence[RoutedPrompt], tier: str, after_tokens: int | None) -> list[TierAnswer]:
    """What a router sees of the tier's answers."""
    answers = (prompt.answers[tier] for prompt in prompts)
    return [answer if after_tokens is None else answer.after(after_tokens) for answer in answers]


def answers_judged(prompts: Sequence[RoutedPrompt], tier: str, after_tokens: int | None) -> FeatureTable:
    """The signals of a tier's answers, or of their first tokens."""
    return answer_table(_judged(prompts, tier, after_tokens))


def _tried_s(prompts: Sequence[RoutedPrompt], tier: str, after_tokens: int | None) -> Floats:
    return np.array([answer.e2e_s for answer in _judged(prompts, tier, after_tokens)])
