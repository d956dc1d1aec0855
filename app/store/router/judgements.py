"""What models say as judges: of recorded answers, and of the answers of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select

from app.store.database.errors import GoneError
from app.store.database.identity import now
from app.store.people.texts import visible_text
from app.store.people.visibility import visible
from app.store.router.answers import AnswerStore
from app.store.router.records import KeptVerdict, answer_sha256
from app.store.router.schema import RouterJudgement, RouterSet, RouterVerdict
from app.store.runs.schema import Run
from engine.evaluation.judge import Verdict
from engine.types import Tier

AnswerKey = tuple[str, str, str]
"""The prompt's id, the tier, :func:`~app.store.router.records.answer_sha256` of the answer's text."""


class JudgementStore(AnswerStore):
    """The part of the Router lab's store that keeps verdicts. Safe to share between threads."""

    def keep_verdict(
        self, set_sha256: str, prompt_id: str, tier: str, text: str, judge: Tier, weights_sha256: str, verdict: Verdict
    ) -> None:
        """Keep what a judge says of a recorded answer, in place of what it said before.

        Raises:
            GoneError: the set was deleted.
        """
        with self._database.write() as session:
            if session.get(RouterSet, set_sha256) is None:
                raise GoneError("The data set that this answer belongs to was deleted.")
            session.merge(
                RouterVerdict(
                    set_sha256=set_sha256,
                    prompt_id=prompt_id,
                    tier=tier,
                    answer_sha256=answer_sha256(text),
                    judge=judge.key,
                    weights_sha256=weights_sha256,
                    created_at=now(),
                    right=verdict.right,
                    confidence=verdict.confidence,
                )
            )

    def verdicts(self, set_sha256: str) -> dict[AnswerKey, tuple[KeptVerdict, ...]]:
        """What judges say of a set's answers, by answer; the latest last."""
        row, found = RouterVerdict, defaultdict[AnswerKey, list[KeptVerdict]](list)
        rows = select(row).where(row.set_sha256 == set_sha256, *visible_text(row.set_sha256, self._viewer))
        with self._database.read() as session:
            for said in session.scalars(rows.order_by(row.created_at, row.judge)):
                found[said.prompt_id, said.tier, said.answer_sha256].append(_to_verdict(said))
        return {key: tuple(said) for key, said in found.items()}

    def judged_until(self, set_sha256: str) -> tuple[int, datetime | None]:
        """How many verdicts there are of a set's answers, and when the latest was kept."""
        row = RouterVerdict
        rows = select(func.count(), func.max(row.created_at))
        with self._database.read() as session:
            count, latest = session.execute(
                rows.where(row.set_sha256 == set_sha256, *visible_text(row.set_sha256, self._viewer))
            ).one()
            return count, latest

    def keep_run_verdict(self, run_id: str, judge: Tier, weights_sha256: str, verdict: Verdict) -> None:
        """Keep what a judge says of a run's answer, in place of what it said before; nothing where the run is gone."""
        with self._database.write() as session:
            if session.get(Run, run_id) is not None:
                session.merge(
                    RouterJudgement(
                        run_id=run_id,
                        judge=judge.key,
                        weights_sha256=weights_sha256,
                        created_at=now(),
                        right=verdict.right,
                        confidence=verdict.confidence,
                    )
                )

    def run_verdicts(self, run_ids: Collection[str]) -> dict[str, tuple[KeptVerdict, ...]]:
        """What judges say of runs that the viewer may see, by the run's id; the latest last."""
        row, found = RouterJudgement, defaultdict[str, list[KeptVerdict]](list)
        rows = select(row).join(Run, Run.id == row.run_id)
        rows = rows.where(row.run_id.in_(run_ids), *visible(Run.person_id, self._viewer))
        with self._database.read() as session:
            for said in session.scalars(rows.order_by(row.created_at, row.judge)):
                found[said.run_id].append(_to_verdict(said))
        return {run_id: tuple(said) for run_id, said in found.items()}


def _to_verdict(row: RouterVerdict | RouterJudgement) -> KeptVerdict:
    return KeptVerdict(
        judge=Tier.from_key(row.judge),
        weights_sha256=row.weights_sha256,
        verdict=Verdict(row.right, row.confidence),
        created_at=row.created_at,
    )
