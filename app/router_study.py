"""One router between two tiers of a data set: learned from some of its prompts, judged on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from time import perf_counter

import numpy as np
import numpy.typing as npt

from engine.cascade import (
    NEVER,
    BoundaryData,
    BoundaryRouter,
    FeatureTable,
    Figure,
    LogisticWeights,
    RoutedPrompt,
    RouterKind,
    RouterProfile,
    ScoreReference,
    SureBand,
    ThresholdFigures,
    TierIdentity,
    answer_table,
    hybrid_score,
    learn,
    needs_larger,
    oracle_score,
    prompt_table,
    random_score,
    scored_by_both,
    stratified_parts,
)
from engine.errors import RecordedPairsError, RouterProfileError
from engine.types import Precision

Floats = npt.NDArray[np.float64]

LEARNING_PARTS = 3
"""One prompt of so many is learned from."""
SURE_SHARE = 0.1
"""Of the prompts at either end that a hybrid decides without a try."""


class Choice(StrEnum):
    """A router to look at."""

    ESCALATE = "Escalate"
    ESCALATE_LEARNED = "Escalate, learned"
    ROUTE_LEARNED = "Route, learned"
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
        return self in (Choice.ESCALATE_LEARNED, Choice.ROUTE_LEARNED, Choice.HYBRID_LEARNED)


_KINDS = {
    Choice.ESCALATE: RouterKind.ESCALATE,
    Choice.ESCALATE_LEARNED: RouterKind.ESCALATE,
    Choice.ROUTE_LEARNED: RouterKind.ROUTE,
    Choice.HYBRID_LEARNED: RouterKind.HYBRID,
    Choice.CHANCE: RouterKind.RANDOM,
    Choice.ORACLE: RouterKind.ORACLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A router, and the prompts it is judged on."""

    choice: Choice
    weak: str
    """The smaller tier's key."""
    strong: str
    prompts: tuple[RoutedPrompt, ...]
    """That report: both tiers answered them with a score, and nothing was learned from them."""
    data: BoundaryData
    """Of these prompts, in the same order."""
    router: BoundaryRouter
    """Its threshold is not chosen yet."""
    learned_from: int
    reason: str
    """Why nothing was learned; empty where it was, or where there is nothing to learn."""
    left_out: int
    """Prompts of the data set that lack a scored answer of either tier."""

    @classmethod
    def of(cls, prompts: Sequence[RoutedPrompt], weak: str, strong: str, choice: Choice) -> Study:
        """Learn what there is to learn, and score the prompts that were not learned from.

        Raises:
            RecordedPairsError: no prompt has a scored answer of both tiers.
        """
        scored = scored_by_both(prompts, weak, strong)
        if not scored:
            raise RecordedPairsError(f"No prompt has an answer with a score of both {weak} and {strong}.")
        router, learned_from, reason, report = BoundaryRouter(threshold=NEVER), 0, "", scored
        if choice.learns:
            at = _learning_rows(scored)
            router, learned_from, reason = _learn([scored[i] for i in at], weak, strong, choice.kind)
            report = tuple(prompt for i, prompt in enumerate(scored) if not learned_from or i not in set(at.tolist()))
        began = perf_counter()
        score, small_first = _score(report, weak, strong, choice.kind, router)
        extra_s = (perf_counter() - began) / len(report) if choice.kind not in _YARDSTICKS else 0.0
        return cls(
            choice=choice,
            weak=weak,
            strong=strong,
            prompts=report,
            data=BoundaryData.of(report, weak, strong, score, small_first=small_first, extra_s=extra_s),
            router=router,
            learned_from=learned_from,
            reason=reason,
            left_out=len(prompts) - len(scored),
        )

    def with_oracle(self) -> BoundaryData:
        """The same prompts, sent by somebody who knows both answers' scores."""
        return replace(
            self.data,
            router_score=oracle_score(self.data.weak_score, self.data.strong_score),
            small_first=np.zeros(len(self.data), np.bool_),
            extra_cost=np.zeros(len(self.data)),
        )

    def signals(self) -> FeatureTable:
        """All that a router could look at, ``[prompts, signals]``."""
        prompts, answers = _prompt_table(self.prompts), _answer_table(self.prompts, self.weak)
        return FeatureTable(
            names=(*answers.names, *(f"prompt: {name}" for name in prompts.names)),
            values=np.hstack([answers.values, prompts.values]),
        )

    def needed(self) -> npt.NDArray[np.bool_]:
        """Whether the large model was needed, ``[prompts]``."""
        return needs_larger(self.data.weak_score, self.data.strong_score)

    def profile(
        self, name: str, threshold: float, weights: Mapping[str, str], data_sha256: str, made_on: date
    ) -> RouterProfile:
        """This router at a threshold, as it is kept; its figures are those of the half that reports, as with a
        threshold that was picked (:func:`~engine.cascade.selection.select`).

        Args:
            name: what the user calls it.
            threshold: scores from here up go up.
            weights: the tiers' weights_sha256.
            data_sha256: of the recorded pairs.
            made_on: today.

        Raises:
            RouterProfileError: it cannot be deployed, or the data set does not say from which weights it is.
        """
        figures = ThresholdFigures.of(self._reporting_half(), threshold)
        reference = ScoreReference.of(self.data.router_score)
        return RouterProfile(
            name=name,
            made_on=made_on,
            kind=self.choice.kind,
            ladder=(tier_identity(self.weak, weights), tier_identity(self.strong, weights)),
            boundaries=(replace(self.router, threshold=threshold, reference=reference),),
            data_sha256=data_sha256,
            prompts=self.learned_from + len(self.prompts),
            figures={
                "quality": figures.quality.value,
                "quality_kept": _value(figures.quality_kept),
                "share": figures.share.value,
                "cost_s": figures.cost.value,
                "cost_share": _value(figures.cost_share),
                "ttft_s": figures.ttft_s.value,
                "missed": figures.missed.value,
            },
        )

    def _reporting_half(self) -> BoundaryData:
        if len(self.data) < 2:
            return self.data
        return self.data.rows(stratified_parts(self.data.ids, self.data.categories)[1])


def tier_identity(tier: str, weights: Mapping[str, str]) -> TierIdentity:
    """A tier's model, exactly.

    Raises:
        RouterProfileError: the data set does not say from which weights the tier's answers are.
    """
    model, _, precision = tier.rpartition("@")
    if tier not in weights:
        raise RouterProfileError(
            f"The data set does not say from which weights of {model} its answers are: record it here first."
        )
    return TierIdentity(model=model, precision=Precision(precision), weights_sha256=weights[tier])


def router_scores(router: BoundaryRouter, kind: RouterKind, prompts: Sequence[RoutedPrompt], weak: str) -> Floats:
    """A router's scores of prompts that the smaller tier has answered, ``[prompts]``; the yardsticks have none."""
    return _score(prompts, weak, weak, kind, router)[0]


_YARDSTICKS = (RouterKind.RANDOM, RouterKind.ORACLE)


def _learning_rows(prompts: Sequence[RoutedPrompt]) -> npt.NDArray[np.intp]:
    if len(prompts) < LEARNING_PARTS:
        return np.arange(len(prompts))
    ids, categories = zip(*((prompt.prompt_id, prompt.category) for prompt in prompts), strict=True)
    # another seed than the halves that choose a threshold and report on it
    return stratified_parts(ids, categories, LEARNING_PARTS, seed=1)[0]


def _learn(
    prompts: Sequence[RoutedPrompt], weak: str, strong: str, kind: RouterKind
) -> tuple[BoundaryRouter, int, str]:
    """The router, from how many prompts it was learned, and why it was not."""
    weak_score, strong_score = (
        np.array([prompt.answers[tier].score for prompt in prompts], np.float64) for tier in (weak, strong)
    )
    label = needs_larger(weak_score, strong_score)
    of_prompt: LogisticWeights | None = None
    of_answer: LogisticWeights | None = None
    reason, rows = "", 0
    if kind is not RouterKind.ESCALATE:
        table = _prompt_table(prompts)
        learned = learn(table, label)
        of_prompt, reason, rows = learned.weights, learned.reason, learned.prompts
    if kind is not RouterKind.ROUTE:
        learned = learn(_answer_table(prompts, weak), label)
        of_answer, reason, rows = learned.weights, learned.reason or reason, max(rows, learned.prompts)
    band = None
    if kind is RouterKind.HYBRID:
        band = _sure_band(of_prompt.score(table)) if of_prompt else SureBand(keep_below=0.0, up_from=NEVER)
    router = BoundaryRouter(threshold=NEVER, prompt_weights=of_prompt, answer_weights=of_answer, band=band)
    return router, rows if of_prompt or of_answer else 0, reason


def _sure_band(scores: Floats) -> SureBand:
    low, high = np.nanquantile(scores, [SURE_SHARE, 1 - SURE_SHARE]).tolist()
    return SureBand(keep_below=low, up_from=high)


def _score(
    prompts: Sequence[RoutedPrompt], weak: str, strong: str, kind: RouterKind, router: BoundaryRouter
) -> tuple[Floats, npt.NDArray[np.bool_] | bool]:
    """Scores, and who had the small model try first."""
    match kind:
        case RouterKind.ROUTE:
            return router.prompt_score(_prompt_table(prompts)), False
        case RouterKind.ESCALATE:
            return router.answer_score(_answer_table(prompts, weak)), True
        case RouterKind.HYBRID:
            band = router.band or SureBand(keep_below=0.0, up_from=NEVER)
            of_answer = router.answer_score(_answer_table(prompts, weak))
            return hybrid_score(router.prompt_score(_prompt_table(prompts)), of_answer, band)
        case RouterKind.ORACLE:
            weak_score, strong_score = (
                np.array([prompt.answers[tier].score for prompt in prompts], np.float64) for tier in (weak, strong)
            )
            return oracle_score(weak_score, strong_score), False
        case _:
            return random_score([prompt.prompt for prompt in prompts]), False


def _value(figure: Figure | None) -> float | None:
    return None if figure is None else figure.value


def _prompt_table(prompts: Sequence[RoutedPrompt]) -> FeatureTable:
    return prompt_table([prompt.prompt for prompt in prompts])


def _answer_table(prompts: Sequence[RoutedPrompt], tier: str) -> FeatureTable:
    return answer_table([prompt.answers[tier] for prompt in prompts])
