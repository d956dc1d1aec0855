"""Three tiers from two profiles: one router below, another above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from time import perf_counter

import numpy as np

from app.router.scoring import score_prompts
from app.router.study import learning_rows, value_of
from engine.cascade import (
    BoundaryData,
    LadderFigures,
    RoutedPrompt,
    RouterKind,
    RouterProfile,
    scored_by_both,
    stratified_parts,
)
from engine.errors import RecordedPairsError, RouterProfileError
from engine.types import Tier


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
    found = ladder_figures(made, prompts)
    return replace(
        made,
        figures={
            "quality": found.quality.value,
            "quality_kept": value_of(found.quality_kept),
            "share": 1 - found.shares[0].value,
            "cost_s": found.cost.value,
            "cost_share": value_of(found.cost_share),
            "ttft_s": found.ttft_s.value,
            "missed": found.missed.value,
        },
    )


def ladder_figures(profile: RouterProfile, prompts: Sequence[RoutedPrompt]) -> LadderFigures:
    """What a profile gives on the half of the recorded prompts that reports.

    Raises:
        RecordedPairsError: too few prompts have a scored answer of every tier, or some of only two of them.
    """
    tiers = [Tier(model=tier.model, precision=tier.precision).key for tier in profile.ladder]
    scored = [
        prompt
        for prompt in prompts
        if all(tier in prompt.answers and prompt.answers[tier].score is not None for tier in tiers)
    ]
    for weak, strong in pairwise(tiers):
        if len(scored_by_both(prompts, weak, strong)) != len(scored):
            raise RecordedPairsError(
                f"Not all prompts have a scored answer of all of {', '.join(tiers)}: record the missing ones first. "
                "What chose a threshold must not report on it."
            )
    if any(boundary.prompt_weights or boundary.answer_weights for boundary in profile.boundaries):
        taught = set(learning_rows(scored).tolist())
        scored = [prompt for row, prompt in enumerate(scored) if row not in taught]
    if len(scored) < 2:
        raise RecordedPairsError(f"Too few prompts have a scored answer of all of {', '.join(tiers)}.")
    halves = stratified_parts(tuple(prompt.prompt_id for prompt in scored), tuple(prompt.category for prompt in scored))
    reporting = [scored[row] for row in np.sort(halves[1])]
    boundaries = []
    for (weak, strong), router in zip(pairwise(tiers), profile.boundaries, strict=True):
        begun = perf_counter()
        score, tried_s = score_prompts(reporting, weak, strong, profile.kind, router, profile.after_tokens)
        extra_s = (perf_counter() - begun) / len(reporting)
        boundaries.append(BoundaryData.of(reporting, weak, strong, score, tried_s=tried_s, extra_s=extra_s))
    return LadderFigures.of(boundaries, [router.threshold for router in profile.boundaries])
