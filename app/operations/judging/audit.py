"""How far a judge of live traffic can be trusted: its silence, and its agreement with thumbs and another judge."""

from __future__ import annotations

from collections.abc import Sequence

from app.experiments.judging.audit import Audit
from app.experiments.judging.opinions import RIGHT, judge_words
from app.experiments.statistics.agreement import Agreement, agreement
from app.store import JudgeCounts, JudgementKind, JudgingStore, ScoreSums


def audit(store: JudgingStore, counts: JudgeCounts, others: Sequence[JudgeCounts], sums: Sequence[ScoreSums]) -> Audit:
    """Of one judge. That order or length sway it is seen in experiments alone, where pairs are compared.

    Args:
        store: what keeps judgements.
        counts: of the judge.
        others: of other judges.
        sums: what was scored, to see whether it judges itself.
    """
    judge = counts.judge
    both = {judge_words(each.judge): _agree(store.beside_another(judge, each.judge)) for each in others}
    model = judge.name.rpartition("@")[0]
    return Audit(
        kind=JudgementKind.SCORE,
        asked=counts.asked,
        unanswered=counts.unanswered,
        flips=None,
        length=None,
        length_of_checkers=None,
        checkers=None,
        people=_agree(store.beside_thumbs(judge)),
        others={name: found for name, found in both.items() if found},
        judges_itself=any(each.model == model for each in sums if each.judge == judge),
        seconds=counts.seconds,
        prompt_tokens=counts.prompt_tokens,
        completion_tokens=counts.completion_tokens,
        uncounted=counts.uncounted,
    )


def _agree(pairs: Sequence[tuple[float, float]]) -> Agreement | None:
    """On which answers are good."""
    if not pairs:
        return None
    return agreement([mine >= RIGHT for mine, _ in pairs], [theirs >= RIGHT for _, theirs in pairs])
