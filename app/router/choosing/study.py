"""One router between two tiers of a data set: learned from some of its prompts, judged on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from app.router.choosing.scoring import Choice, answers_judged, learn_router, score_prompts, texts
from engine.cascade import (
    NEVER,
    BoundaryData,
    BoundaryRouter,
    Costs,
    Evidence,
    FeatureTable,
    Figure,
    LadderFigures,
    Promise,
    RoutedPrompt,
    Router,
    RouterProfile,
    ScoreReference,
    ThresholdFigures,
    TierIdentity,
    half_rows,
    needs_larger,
    oracle_score,
    reading_table,
    router_class,
    scored_by_both,
    stratified_parts,
)
from engine.cascade.routing.signals import HIDDEN
from engine.errors import RecordedPairsError, RouterProfileError
from engine.types import Tier

Floats = npt.NDArray[np.float64]

LEARNING_PARTS = 3
"""One prompt of so many is learned from."""


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
    costs: Costs | None = None
    """What costs were derived from; ``None`` where they are seconds as recorded."""

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
            at = learning_rows(scored)
            router, learned_from, reason = learn_router([scored[i] for i in at], weak, strong, choice)
            taught = set(at.tolist()) if learned_from else set()
            report = tuple(prompt for i, prompt in enumerate(scored) if i not in taught)
        began = perf_counter()
        score, tried_s = score_prompts(report, weak, strong, choice.kind, router, choice.after_tokens)
        kind = router_class(choice.kind)
        # a yardstick's own time says nothing
        extra_s = (perf_counter() - began) / len(report) if kind.reads_prompt or kind.reads_answer else 0.0
        return cls(
            choice=choice,
            weak=weak,
            strong=strong,
            prompts=report,
            data=BoundaryData.of(report, weak, strong, score, tried_s=tried_s, extra_s=extra_s),
            router=router,
            learned_from=learned_from,
            reason=reason,
            left_out=len(prompts) - len(scored),
        )

    def elsewhere(self, prompts: Sequence[RoutedPrompt], costs: Costs) -> Study:
        """The same router on the same prompts, whose answers cost what they would on another machine or by prices.

        Raises:
            RecordedPairsError: the costs say nothing of one of the tiers.
        """
        found = Study.of(costs.applied(prompts, (self.weak, self.strong)), self.weak, self.strong, self.choice)
        # this machine's router takes time, not money
        free = found.data if costs.in_seconds else replace(found.data, extra_cost=np.zeros(len(found.data)))
        return replace(found, data=free, costs=costs)

    def reporting(self) -> Study:
        """The same router on the half of its prompts that has no part in choosing a threshold."""
        _, rows = half_rows(self.data)
        return replace(self, prompts=tuple(self.prompts[row] for row in rows), data=self.data.rows(rows))

    def with_oracle(self) -> BoundaryData:
        """The same prompts, sent by somebody who knows both answers' scores."""
        return replace(
            self.data,
            router_score=oracle_score(self.data.weak_score, self.data.strong_score),
            tried_cost=np.zeros(len(self.data)),
            extra_cost=np.zeros(len(self.data)),
        )

    def signals(self) -> FeatureTable:
        """All that a router could look at, ``[prompts, signals]``."""
        answers = answers_judged(self.prompts, self.weak, self.choice.after_tokens)
        read = [prompt.answers[self.weak] for prompt in self.prompts]
        prompts = reading_table(texts(self.prompts), read, hidden=False)
        return FeatureTable(
            names=(*answers.names, *(f"prompt: {name}" for name in prompts.names)),
            values=np.hstack([answers.values, prompts.values]),
        )

    @property
    def scorer(self) -> Router:
        """The router, as it scores prompts."""
        return router_class(self.choice.kind)(boundary=self.router, after_tokens=self.choice.after_tokens)

    @property
    def sees_hidden(self) -> bool:
        """Whether the router looks at the small model's hidden state."""
        weights = self.router.prompt_weights
        return weights is not None and any(name.startswith(HIDDEN) for name in weights.features)

    def scores_of(self, prompts: Sequence[RoutedPrompt]) -> Floats:
        """The router's scores of other prompts, ``[prompts]``; the smaller tier has answered them where it must."""
        return self.scorer.judge(prompts, self.weak, self.weak).score

    def needed(self) -> npt.NDArray[np.bool_]:
        """Whether the large model was needed, ``[prompts]``."""
        return needs_larger(self.data.weak_score, self.data.strong_score)

    def profile(
        self,
        name: str,
        threshold: float,
        weights: Mapping[str, str],
        data_sha256: str,
        made_on: date,
        promise: Promise | None = None,
    ) -> RouterProfile:
        """This router at a threshold, as it is kept; its figures are those of the half that reports, as with a
        threshold that was picked (:func:`~engine.cascade.choosing.selection.select`).

        Args:
            name: what the user calls it.
            threshold: scores from here up go up.
            weights: the tiers' weights_sha256.
            data_sha256: of the recorded pairs.
            made_on: today.
            promise: what the threshold was chosen for; ``None`` for one set by hand.

        Raises:
            RouterProfileError: it cannot be deployed, or the data set does not say from which weights it is.
        """
        figures = ThresholdFigures.of(self.reporting().data, threshold)
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
                "quality_kept": value_of(figures.quality_kept),
                "share": figures.share.value,
                "cost_s": figures.cost.value,
                "cost_share": value_of(figures.cost_share),
                "ttft_s": figures.ttft_s.value,
                "missed": figures.missed.value,
            },
            after_tokens=self.choice.after_tokens,
            promise=promise,
        )

    def evidence(self, threshold: float, environment: Mapping[str, Any]) -> Evidence:
        """What a profile at a threshold is to be judged by; ``environment`` is this machine's."""
        return evidence_of(self, ThresholdFigures.of(self.reporting().data, threshold), environment)


def evidence_of(study: Study, figures: ThresholdFigures | LadderFigures, environment: Mapping[str, Any]) -> Evidence:
    """From the prompts of a study and figures on the half that reports."""
    costs = study.costs
    return Evidence.of(
        texts(study.prompts),
        figures,
        environment,
        unit="s" if costs is None else costs.unit,
        derived_from="" if costs is None else costs.name,
    )


def tier_identity(tier: str, weights: Mapping[str, str]) -> TierIdentity:
    """A tier's model, exactly.

    Raises:
        RouterProfileError: the data set does not say from which weights the tier's answers are.
    """
    known = Tier.from_key(tier)
    if tier not in weights:
        raise RouterProfileError(
            f"The data set does not say from which weights of {known.model} its answers are: record it here first."
        )
    return TierIdentity(model=known.model, precision=known.precision, weights_sha256=weights[tier])


def learning_rows(prompts: Sequence[RoutedPrompt]) -> npt.NDArray[np.intp]:
    """The prompts that a router is learned from. Of fewer texts than parts, one prompt each: too few to learn from."""
    asked = texts(prompts)
    if len(set(asked)) < LEARNING_PARTS:
        return np.array([asked.index(text) for text in dict.fromkeys(asked)], np.intp)
    ids, categories = zip(*((prompt.prompt_id, prompt.category) for prompt in prompts), strict=True)
    # another seed than the halves that choose a threshold and report on it
    return stratified_parts(ids, categories, asked, LEARNING_PARTS, seed=1)[0]


def value_of(figure: Figure | None) -> float | None:
    """Without its interval."""
    return None if figure is None else figure.value
