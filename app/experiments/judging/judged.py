"""A judge's verdicts as an experiment's results have them, and the time that more of them will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.estimates import AnswerTime
from app.experiments.judging.audit import Audit, Limits
from app.experiments.judging.opinions import Opinions, judge_words
from app.experiments.results.arrays import Judged, Results
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
