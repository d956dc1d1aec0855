"""A judge's verdicts as an experiment's results have them, and the time that more of them will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.estimates import AnswerTime
from app.experiments.judging.audit import Audit, Limits
from app.experiments.judging.opinions import Opinions, judge_words
from app.experiments.results.arrays import Floats, Judged, Measure, Results
from app.store import JudgeId, Judgement, JudgementKind
from engine.types import Tier

_PROMPT_TOKENS, _REPLY_TOKENS = 420, 45
"""About what a question and its reply are long, where none was asked yet; most of the question is the same each time,
and is read once."""


def judged(results: Results, opinions: Opinions, kind: JudgementKind, audit: Audit, limits: Limits) -> Judged:
    """What a judge says, with what speaks against it.

    Args:
        results: of the experiment.
        opinions: the judge's.
        kind: how it judges.
        audit: its own.
        limits: beyond which it fails that.
    """
    return Judged(
        judge=judge_words(opinions.judge),
        pairwise=kind is JudgementKind.PAIR,
        scores=opinions.as_scores(results, kind),
        concerns=audit.concerns(limits),
        cautions=audit.cautions,
    )


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """What a judge says of one configuration. Means from 0 to 1; ``None`` where it said nothing."""

    name: str
    """With a mark where it is the baseline."""
    unchecked: float | None
    """On prompts without a checker: these count in a decision."""
    checked: float | None
    """On the others, which are for the audit."""
    prompts: int
    """That it judged."""


def judged_rows(results: Results) -> tuple[JudgedRow, ...]:
    """Of each configuration, what the judge that counts says.

    Args:
        results: with that judge's verdicts.
    """
    assert results.judged is not None
    scores, unchecked = results.judged.scores, results.applies(Measure.JUDGE)
    return tuple(
        JudgedRow(
            f"{name} (baseline)" if place == results.design.baseline else name,
            _mean(scores[place, unchecked]),
            _mean(scores[place, ~unchecked]),
            int(np.isfinite(scores[place]).sum()),
        )
        for place, name in enumerate(results.names)
    )


def _mean(scores: Floats) -> float | None:
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else None


def seconds_of(
    count: int, judge: JudgeId, said: Sequence[Judgement], times: Mapping[str, AnswerTime], sooner: float
) -> float | None:
    """Seconds that a judge's next judgements will take; ``None`` where nobody knows.

    Args:
        count: how many.
        judge: whose.
        said: all judgements of the experiment: its own tell its pace.
        times: what answers of its model take here, by precision; empty for a server's.
        sooner: how many times sooner answers come together than one after the other.
    """
    own = [each.seconds for each in said if each.key.judge == judge]
    if own:
        return count * sum(own) / len(own)
    known = times.get(Tier.from_key(judge.name).precision) if times else None
    return (
        None if known is None else count * known.seconds(_PROMPT_TOKENS, _REPLY_TOKENS) / sooner + (known.load_s or 0)
    )
