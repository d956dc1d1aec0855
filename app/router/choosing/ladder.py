"""Three tiers: two routers whose thresholds are chosen at once, or two profiles that continue each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from app.router.choosing.scoring import Choice, score_prompts, texts
from app.router.choosing.study import Study, evidence_of, learning_rows, tier_identity, value_of
from engine.cascade import (
    BoundaryData,
    Evidence,
    LadderFigures,
    LadderSelection,
    RoutedPrompt,
    RouterKind,
    RouterProfile,
    ScoreReference,
    scored_by_both,
    stratified_parts,
)
from engine.errors import RecordedPairsError, RouterProfileError
from engine.types import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderStudy:
    """Two routers of one kind on the same prompts: between the small and the middle tier, and the middle and the large
    one."""

    lower: Study
    upper: Study

    @classmethod
    def of(cls, prompts: Sequence[RoutedPrompt], tiers: tuple[str, str, str], choice: Choice) -> LadderStudy:
        """Learn both routers from the prompts that all three tiers answered, and score those that neither saw.

        Args:
            prompts: recorded answers.
            tiers: keys, from the smallest up.
            choice: the router.

        Raises:
            RecordedPairsError: no prompt has a scored answer of all three tiers.
        """
        scored = scored_by_all(prompts, tiers)
        if not scored:
            raise RecordedPairsError(f"No prompt has an answer with a score of all of {', '.join(tiers)}.")
        lower, upper = (Study.of(scored, weak, strong, choice) for weak, strong in pairwise(tiers))
        # where only one of them could be learned, it alone leaves out what it was learned from
        both = set(lower.data.ids) & set(upper.data.ids)
        return cls(lower=_on(lower, both), upper=_on(upper, both))

    @property
    def tiers(self) -> tuple[str, str, str]:
        """Keys, from the smallest up."""
        return self.lower.weak, self.lower.strong, self.upper.strong

    @property
    def boundaries(self) -> tuple[BoundaryData, BoundaryData]:
        """What was recorded at either, on the same prompts."""
        return self.lower.data, self.upper.data

    def profile(
        self,
        name: str,
        selection: LadderSelection,
        weights: Mapping[str, str],
        data_sha256: str,
        made_on: date,
    ) -> RouterProfile:
        """This ladder at the thresholds that were picked; arguments as in `Study.profile`.

        Raises:
            RouterProfileError: it cannot be deployed, or the data set does not say from which weights it is.
        """
        figures = selection.test
        low, high = (
            replace(study.router, threshold=threshold, reference=ScoreReference.of(study.data.router_score))
            for study, threshold in zip((self.lower, self.upper), selection.thresholds, strict=True)
        )
        return RouterProfile(
            name=name,
            made_on=made_on,
            kind=self.lower.choice.kind,
            ladder=tuple(tier_identity(tier, weights) for tier in self.tiers),
            boundaries=(low, high),
            data_sha256=data_sha256,
            prompts=max(self.lower.learned_from, self.upper.learned_from) + len(self.lower.data),
            figures=_figures(figures),
            after_tokens=self.lower.choice.after_tokens,
            promise=selection.promise,
        )

    def evidence(self, selection: LadderSelection, environment: Mapping[str, Any]) -> Evidence:
        """What its profile is to be judged by; ``environment`` is this machine's."""
        return evidence_of(self.upper, selection.test, environment)


def scored_by_all(prompts: Iterable[RoutedPrompt], tiers: Sequence[str]) -> list[RoutedPrompt]:
    """Prompts that every one of these tiers answered with a score."""
    return [
        prompt
        for prompt in prompts
        if all(tier in prompt.answers and prompt.answers[tier].score is not None for tier in tiers)
    ]


def _on(study: Study, ids: Set[str]) -> Study:
    rows = np.array([row for row, id in enumerate(study.data.ids) if id in ids], np.intp)
    return replace(study, prompts=tuple(study.prompts[row] for row in rows), data=study.data.rows(rows))


def _figures(found: LadderFigures) -> dict[str, float | None]:
    return {
        "quality": found.quality.value,
        "quality_kept": value_of(found.quality_kept),
        "share": found.share.value,
        "cost_s": found.cost.value,
        "cost_share": value_of(found.cost_share),
        "ttft_s": found.ttft_s.value,
        "missed": found.missed.value,
    }


def continues(lower: RouterProfile, upper: RouterProfile) -> bool:
    """Whether one profile begins where the other ends, and decides in the same way."""
    return (
        len(lower.ladder) == len(upper.ladder) == 2
        and lower.ladder[-1] == upper.ladder[0]
        and lower.ladder[0] != upper.ladder[-1]
        and lower.kind is not RouterKind.RANDOM
        and _way(lower) == _way(upper)
    )


def _way(profile: RouterProfile) -> tuple[object, ...]:
    """How a profile of two tiers decides, and from which answers it was made."""
    (router,) = profile.boundaries
    learned = bool(router.prompt_weights or router.answer_weights)
    return profile.kind, profile.after_tokens, router.reads_first, learned, profile.data_sha256


def join(
    name: str, lower: RouterProfile, upper: RouterProfile, prompts: Sequence[RoutedPrompt], made_on: date
) -> RouterProfile:
    """A profile of three tiers; its figures are those of the prompts that chose nothing and taught nothing.

    Args:
        name: what the user calls it.
        lower: between the two smaller tiers.
        upper: between the two larger ones.
        prompts: recorded answers, of which those by all three tiers count.
        made_on: today.

    Raises:
        RouterProfileError: the profiles do not continue each other.
        RecordedPairsError: too few prompts were answered by all three tiers.
    """
    if not continues(lower, upper):
        raise RouterProfileError(
            f"“{lower.name}” and “{upper.name}” make no ladder: the upper one must begin with the tier that the lower "
            "one ends with, decide in the same way, and be made from the same answers."
        )
    made = replace(
        lower,
        name=name,
        made_on=made_on,
        ladder=(*lower.ladder, upper.ladder[-1]),
        boundaries=(*lower.boundaries, *upper.boundaries),
        prompts=min(lower.prompts, upper.prompts),
        figures={},
        promise=None,
    )
    return replace(made, figures=_figures(ladder_figures(made, prompts)))


def ladder_figures(profile: RouterProfile, prompts: Sequence[RoutedPrompt]) -> LadderFigures:
    """What a profile gives on the half of the recorded prompts that reports.

    Raises:
        RecordedPairsError: too few prompts have a scored answer of every tier, or some of only two of them.
    """
    tiers = [Tier(model=tier.model, precision=tier.precision).key for tier in profile.ladder]
    scored = scored_by_all(prompts, tiers)
    for weak, strong in pairwise(tiers):
        if len(scored_by_both(prompts, weak, strong)) != len(scored):
            raise RecordedPairsError(
                f"Not all prompts have a scored answer of all of {', '.join(tiers)}: record the missing ones first. "
                "What chose a threshold must not report on it."
            )
    if any(boundary.prompt_weights or boundary.answer_weights for boundary in profile.boundaries):
        taught = set(learning_rows(scored).tolist())
        scored = [prompt for row, prompt in enumerate(scored) if row not in taught]
    asked = texts(scored)
    if len(set(asked)) < 2:
        raise RecordedPairsError(f"Too few prompts have a scored answer of all of {', '.join(tiers)}.")
    halves = stratified_parts([prompt.prompt_id for prompt in scored], [prompt.category for prompt in scored], asked)
    reporting = [scored[row] for row in halves[1]]
    boundaries = []
    for (weak, strong), router in zip(pairwise(tiers), profile.boundaries, strict=True):
        begun = perf_counter()
        score, tried_s = score_prompts(reporting, weak, strong, profile.kind, router, profile.after_tokens)
        extra_s = (perf_counter() - begun) / len(reporting)
        boundaries.append(BoundaryData.of(reporting, weak, strong, score, tried_s=tried_s, extra_s=extra_s))
    return LadderFigures.of(boundaries, [router.threshold for router in profile.boundaries])
