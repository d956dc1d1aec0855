"""Runs that people made, as a router would have seen them: rated ones as a data set, conversations turn by turn."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from app.router.choosing.study import Study
from app.store import (
    WITHOUT_LABS,
    ConversationNotFoundError,
    Rating,
    RunFilter,
    RunRecord,
    RunStatus,
    RunStore,
    Timeline,
)
from engine.cascade import NEVER, BoundaryRouter, RoutedPrompt, Router, RouterKind, RouterProfile, TierAnswer
from engine.types import CascadeConfig, GearKind, Precision, RunConfig, Tier, TierAttempt, backends_with

_MOST_RUNS = 2000
_MOST_CONVERSATIONS = 50
_MOST_LIVE = 300
_THUMBS: tuple[Rating, Rating] = (-1, 1)
_BACKENDS = backends_with(GearKind.CASCADE)
_FINISHED = RunFilter(backends=_BACKENDS, statuses=(RunStatus.FINISHED,))
_RATED = replace(_FINISHED, ratings=_THUMBS)
_LIVE = replace(_FINISHED, sources=WITHOUT_LABS)


def tier_of(run: RunRecord) -> str:
    """The tier that a run was answered by, of a backend that has the cascade gear."""
    return Tier(model=run.model, precision=Precision(run.precision)).key


def run_answer(run: RunRecord, timeline: Timeline | None) -> TierAnswer | None:
    """A run as a recorded answer, scored by its thumb; ``None`` where it was not measured to its end, or where a
    cascade chose who answered."""
    metrics = run.metrics
    if run.cascade or metrics is None or timeline is None or run.finish_reason is None or run.finish_reason == "abort":
        return None
    return TierAnswer.from_tokens(
        run.text,
        timeline.to_events(),
        run.finish_reason,
        prompt_tokens=metrics.prompt_tokens,
        score={1: 1.0, -1: 0.0}.get(run.rating),
        metrics=metrics,
    )


def rated_runs(store: RunStore) -> tuple[int, int]:
    """How many finished runs that the viewer may see have a thumb down, and how many a thumb up.

    Raises:
        StoreError: the run database cannot be read.
    """
    down, up = (store.page(replace(_RATED, ratings=(rating,)), limit=1).total for rating in _THUMBS)
    return down, up


def rated_prompts(store: RunStore) -> tuple[tuple[RoutedPrompt, ...], dict[str, str]]:
    """Prompts whose answers somebody rated, and the tiers' weights. Of one tier's answers under the latest weights
    to the same prompt, the latest counts; only prompts without a system message or earlier turns are taken.

    Raises:
        StoreError: the run database cannot be read.
    """
    page = store.page(_RATED, limit=_MOST_RUNS)
    found: dict[str, dict[str, TierAnswer]] = defaultdict(dict)
    weights: dict[str, str] = {}
    # newest first
    for run in store.get_many([row.id for row in page.rows]):
        answer = run_answer(run, store.timeline(run.id)) if len(run.messages) == 1 else None
        tier, sha256 = tier_of(run), str(run.environment.get("weights_sha256", ""))
        if answer is not None and weights.setdefault(tier, sha256) == sha256:
            found[run.messages[0].content].setdefault(tier, answer)
    prompts = tuple(
        RoutedPrompt(
            prompt_id=hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()[:16],
            category="Rated",
            prompt=prompt,
            answers=answers,
        )
        for prompt, answers in found.items()
    )
    return prompts, {tier: sha256 for tier, sha256 in weights.items() if sha256}


@dataclass(frozen=True, slots=True)
class LiveScores:
    """What a router scores of what is asked in real use, runs of the labs left out."""

    at: tuple[datetime, ...]
    """When each was asked."""
    scores: npt.NDArray[np.float64]
    """``[runs]``; NaN where one is not known."""


def tier_scores(store: RunStore, study: Study) -> LiveScores:
    """The small tier's latest own runs, as the study's router scores them now.

    Raises:
        StoreError: the run database cannot be read.
    """
    runs = tier_runs(store, study.weak)
    scores = study.scores_of([prompt for _, prompt in runs]) if runs else np.array([], np.float64)
    return LiveScores(tuple(at for at, _ in runs), scores)


def tier_runs(store: RunStore, tier: str) -> tuple[tuple[datetime, RoutedPrompt], ...]:
    """The latest finished runs of a tier, as prompts that it alone answered, and when: what it is asked in real use,
    lab runs left out.

    Raises:
        StoreError: the run database cannot be read.
    """
    asked = Tier.from_key(tier)
    of_tier = replace(_LIVE, models=(asked.model,), precisions=(asked.precision,))
    rows = store.page(of_tier, limit=_MOST_LIVE).rows
    return tuple(
        (run.created_at, RoutedPrompt(prompt_id=run.id, category="Live", prompt=run.prompt, answers={tier: answer}))
        for run in store.get_many([row.id for row in rows])
        if (answer := run_answer(run, store.timeline(run.id))) is not None
    )


def cascade_scores(store: RunStore, study: Study) -> LiveScores:
    """What the very router of a study scored between its two tiers in the latest cascades.

    Raises:
        StoreError: the run database cannot be read.
    """
    weak, strong = map(Tier.from_key, (study.weak, study.strong))
    # of three tiers, a boundary sees only what another one sent up: those scores are of other prompts
    of_strong = replace(_LIVE, models=(strong.model,), precisions=(strong.precision,))
    runs = store.get_many([row.id for row in store.page(of_strong, limit=_MOST_LIVE).rows])
    found: list[tuple[datetime, float]] = []
    for run in runs:
        cascade = RunConfig.from_dict(run.config).optimization.cascade
        if run.cascade is None or cascade is None or cascade.smaller != (weak,) or not _same_router(cascade, study):
            continue
        found += [
            (run.created_at, score)
            for attempt in run.cascade.attempts
            if attempt.tier == str(weak) and (score := score_of(attempt, study.scorer)) is not None
        ]
    return LiveScores(tuple(at for at, _ in found), np.array([score for _, score in found], np.float64))


def score_of(attempt: TierAttempt, router: Router) -> float | None:
    """What decided about an attempt, as a router scores it; ``None`` where nothing was scored."""
    scored = []
    for look in router.looks:
        score = attempt.prompt_score if look.at == "prompt" else attempt.answer_score
        if score is None:
            break
        scored.append(np.array([score]))
    return float(router.combine(scored)[0]) if scored else None


def _same_router(cascade: CascadeConfig, study: Study) -> bool:
    """Whether a cascade's last boundary scores as a study's router does, whatever the threshold."""
    if (cascade.router, cascade.after_tokens) != (study.choice.kind, study.choice.after_tokens):
        return False
    router = BoundaryRouter(threshold=NEVER)
    if cascade.profile is not None:
        router = RouterProfile.from_dict(json.loads(cascade.profile)).boundaries[-1]
    return _alike(replace(router, threshold=NEVER, reference=None).to_dict(), study.router.to_dict())


def _alike(one: Any, other: Any) -> bool:
    """Whether two JSON trees say the same, up to what numbers lose on their way."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def conversation_scores(store: RunStore, study: Study) -> list[list[float]]:
    """What a router would have scored the turns of the latest conversations, turn by turn.

    One that judges answers can do so only where the small tier answered every turn: others are left out. One that
    looks at hidden states cannot: they are not kept with runs.

    Raises:
        StoreError: the run database cannot be read.
    """
    if study.choice.kind is RouterKind.ORACLE or study.sees_hidden:
        return []
    on_answers = any(look.tokens != 0 for look in study.scorer.looks)
    scores = []
    for summary in store.chat.conversations(limit=_MOST_CONVERSATIONS):
        try:
            path = store.chat.get(summary.id).path()
        except ConversationNotFoundError:
            continue
        turns = [_turn(message.content) for message in path if message.role == "user"]
        if on_answers:
            answers = _answers_of(
                store, [message.run_id for message in path if message.role == "assistant"], study.weak
            )
            if len(answers) != len(turns):
                continue
            turns = [replace(turn, answers={study.weak: each}) for turn, each in zip(turns, answers, strict=True)]
        if turns:
            scores.append(study.scores_of(turns).tolist())
    return scores


def _turn(prompt: str) -> RoutedPrompt:
    return RoutedPrompt(prompt_id="", category="", prompt=prompt, answers={})


def _answers_of(store: RunStore, run_ids: Sequence[str | None], tier: str) -> list[TierAnswer]:
    """The answers of runs by one tier, in their order; the others are missing."""
    by_id = {run.id: run for run in store.get_many([run_id for run_id in run_ids if run_id])}
    runs = [by_id[run_id] for run_id in run_ids if run_id in by_id]
    by_tier = (run for run in runs if run.backend in _BACKENDS and tier_of(run) == tier)
    answers = (run_answer(run, store.timeline(run.id)) for run in by_tier)
    return [answer for answer in answers if answer is not None]
