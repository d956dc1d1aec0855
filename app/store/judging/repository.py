"""The repository of live judgements: which runs a judge may be asked about, what it said, and what that comes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Select,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.orm import Session, aliased

from app.store.database.columns import from_microseconds
from app.store.database.identity import new_id, now
from app.store.database.session import Database
from app.store.experiments.records import JudgeId, NoVerdict
from app.store.judging.records import Candidate, Disagreement, JudgeCounts, LiveJudgement, ScoreSums
from app.store.judging.sampling import sample
from app.store.judging.schema import JudgingCharge, LiveJudgementRow, LiveJudgementText
from app.store.judging.writing import by, result_of
from app.store.leases.records import StartedFrom, UnderWay
from app.store.leases.repository import Leases
from app.store.outbox.outbox import Outbox
from app.store.people.visibility import Seen, visible
from app.store.runs.schema import Run, RunContent

LEASE = "judging"
_NAME = "Judging live traffic"
_QUARTER_US = 15 * 60 * 1_000_000
_PROMPT = 200
APART = 0.4
"""From so far apart on, two scores are a disagreement."""


class JudgingStore(Seen):
    """Keeps what judges say of live traffic. Safe to share between threads.

    Figures cover everybody; lists leave out what the viewer may not see. Every method raises `StoreError` where the
    database cannot be used.
    """

    def __init__(self, database: Database, outbox: Outbox, leases: Leases) -> None:
        """Use a database whose schema is up to date, the outbox before it, and what tells who judges."""
        self._database = database
        self._outbox = outbox
        self._leases = leases

    @contextmanager
    def begun(self, started_from: StartedFrom) -> Iterator[None]:
        """Inside the block nobody else judges, on whichever server.

        Raises:
            UnderWayError: somebody does.
        """
        with self._leases.deciding:
            with self._database.write() as session:
                self._leases.take(session, LEASE, _NAME, started_from)
            self._leases.hold(LEASE)
        try:
            yield
        finally:
            try:
                with self._database.write() as session:
                    self._leases.give_back(session, LEASE)
            finally:
                self._leases.let_go(LEASE)

    @property
    def under_way(self) -> UnderWay | None:
        """Who judges right now; ``None`` where nobody does."""
        with self._database.read() as session:
            return self._leases.under_way(session).get(LEASE)

    def candidates(self, judge: JudgeId, *, share: float, since: datetime, most: int) -> tuple[Candidate, ...]:
        """Runs of a sample that a judge has not been asked about, of each configuration and tier in turn, of each the
        newest first: any beginning of it has something of all.

        Args:
            judge: who; what it could not be reached for is asked again.
            share: of the runs, 0 to 1, by their ids, so that it is the same sample each time; and of each
                configuration and tier one at least.
            since: they began at this moment or later.
            most: so many are given.
        """
        with self._database.read() as session:
            return tuple(
                Candidate(
                    run_id=id, created_at=created_at, config_hash=config, model=model, precision=precision, tier=tier
                )
                for id, created_at, config, model, precision, tier in session.execute(
                    sample(judge, share=share, since=since, most=most)
                )
            )

    def keep(self, judgement: LiveJudgement) -> bool:
        """Keep what a judge says, in place of what it said before of the same run; says whether it is stored: if not,
        it waits until it can be.

        Raises:
            GoneError: the run was deleted.
        """
        return self._outbox.keep(result_of(judgement))

    def charge(self, cost: float) -> str:
        """Count a question before it is asked, and return the charge's id. Whatever becomes of the question, and of
        the run that it is about, it was asked.

        Args:
            cost: what it takes at most, in the currency of the price file; see :meth:`settle`.

        Raises:
            StoreError: it cannot be counted, and so must not be asked.
        """
        id = new_id()
        with self._database.write() as session:
            session.add(JudgingCharge(id=id, asked_at=now(), cost=cost))
        return id

    def settle(self, charge_id: str, cost: float) -> None:
        """Say what a question took."""
        with self._database.write() as session:
            session.execute(update(JudgingCharge).where(JudgingCharge.id == charge_id).values(cost=cost))

    def spent(self, since: datetime) -> tuple[int, float]:
        """How many questions were asked since a moment, and what they cost, with a verdict or without."""
        row = JudgingCharge
        sums = select(func.count(), func.coalesce(func.sum(row.cost), 0.0)).where(row.asked_at >= since)
        with self._database.read() as session:
            calls, cost = session.execute(sums).one()
            return calls, cost

    def sums(self, since: datetime | None = None) -> tuple[ScoreSums, ...]:
        """Scores by quarter of an hour, judge, configuration and tier; what has no verdict is none. No run is read."""
        row = LiveJudgementRow
        quarter = type_coerce(row.run_created_at, BigInteger).op("/")(literal_column(str(_QUARTER_US))).label("quarter")
        keys = (quarter, row.name, row.weights_sha256, row.version, row.config_hash, row.model, row.tier)
        figures = (func.count(), func.sum(row.score), func.sum(row.score * row.score))
        query = select(*keys, *figures).where(row.score.is_not(None)).group_by(*keys).order_by(*keys)
        if since is not None:
            query = query.where(row.run_created_at >= since)
        with self._database.read() as session:
            return tuple(
                ScoreSums(
                    from_microseconds(begins * _QUARTER_US), JudgeId(name, weights, version), config, model,
                    tier, count, total, squares,
                )
                for begins, name, weights, version, config, model, tier, count, total, squares in session.execute(query)
            )  # fmt: skip

    def counts(self, since: datetime | None = None) -> tuple[JudgeCounts, ...]:
        """How often each judge was asked, the one that was asked most first."""
        row = LiveJudgementRow
        keys = (row.name, row.weights_sha256, row.version, row.no_verdict)
        figures = (
            func.count(), func.sum(row.seconds), func.coalesce(func.sum(row.prompt_tokens), 0),
            func.coalesce(func.sum(row.completion_tokens), 0),
            func.sum(case((row.prompt_tokens.is_(None), 1), else_=0)), func.sum(row.cost),
        )  # fmt: skip
        query = select(*keys, *figures).group_by(*keys)
        if since is not None:
            query = query.where(row.run_created_at >= since)
        found: dict[JudgeId, list[Any]] = {}
        with self._database.read() as session:
            for name, weights, version, none, *figures_of in session.execute(query):
                found.setdefault(JudgeId(name, weights, version), []).append((none, *map(_number, figures_of)))
        counts = [
            JudgeCounts(
                judge=judge,
                asked=int(sum(each[1] for each in rows)),
                unanswered={NoVerdict(each[0]): int(each[1]) for each in rows if each[0]},
                seconds=sum(each[2] for each in rows),
                prompt_tokens=int(sum(each[3] for each in rows)),
                completion_tokens=int(sum(each[4] for each in rows)),
                uncounted=int(sum(each[5] for each in rows)),
                cost=sum(each[6] for each in rows),
            )
            for judge, rows in found.items()
        ]
        return tuple(sorted(counts, key=lambda each: (-each.asked, each.judge)))

    def beside_thumbs(self, judge: JudgeId, *, most: int = 10_000) -> tuple[tuple[float, float], ...]:
        """A judge's score and a person's thumb as 1 or 0, of runs that have both."""
        row = LiveJudgementRow
        query = select(row.score, Run.rating).join(Run, Run.id == row.run_id)
        query = query.where(*by(row, judge), row.score.is_not(None), Run.rating != 0).limit(most)
        with self._database.read() as session:
            return tuple((score or 0.0, float(rating > 0)) for score, rating in session.execute(query))

    def beside_another(self, judge: JudgeId, other: JudgeId, *, most: int = 10_000) -> tuple[tuple[float, float], ...]:
        """Two judges' scores of runs that both have scored."""
        mine, theirs = LiveJudgementRow, aliased(LiveJudgementRow)
        query = select(mine.score, theirs.score).join(theirs, theirs.run_id == mine.run_id)
        query = query.where(*by(mine, judge), *by(theirs, other))
        query = query.where(mine.score.is_not(None), theirs.score.is_not(None)).limit(most)
        with self._database.read() as session:
            return tuple((score or 0.0, its or 0.0) for score, its in session.execute(query))

    def disagreements(self, *, since: datetime | None = None, most: int = 100) -> tuple[Disagreement, ...]:
        """Where two judges, or a judge and a thumb, part, the furthest apart first: of runs that the viewer may see."""
        with self._database.read() as session:
            found = [*self._of_judges(session, since, most), *self._of_thumbs(session, since, most)]
        return tuple(sorted(found, key=lambda each: (-each.apart, each.run_id))[:most])

    def _of_judges(self, session: Session, since: datetime | None, most: int) -> Iterator[Disagreement]:
        mine, theirs = LiveJudgementRow, aliased(LiveJudgementRow)
        its_text, their_text = aliased(LiveJudgementText), aliased(LiveJudgementText)
        apart = func.abs(mine.score - theirs.score)
        query = (
            select(*_OF_A_RUN, *_judge(mine), mine.score, its_text.reason, *_judge(theirs), theirs.score,
                   their_text.reason)
            .join(theirs, and_(theirs.run_id == mine.run_id, theirs.id > mine.id))
            .join(its_text, its_text.judgement_id == mine.id, isouter=True)
            .join(their_text, their_text.judgement_id == theirs.id, isouter=True)
            .where(apart >= APART)
            .order_by(apart.desc(), mine.run_id)
        )  # fmt: skip
        for row in session.execute(self._of_runs(query, since).limit(most)):
            id, created_at, model, tier, prompt, n, w, v, score, reason, on, ow, ov, other_score, other_reason = row
            yield Disagreement(
                run_id=id, created_at=created_at, model=model, tier=tier, prompt=prompt, judge=JudgeId(n, w, v),
                score=score, reason=reason or "", other=JudgeId(on, ow, ov), other_score=other_score,
                other_reason=other_reason or "",
            )  # fmt: skip

    def _of_thumbs(self, session: Session, since: datetime | None, most: int) -> Iterator[Disagreement]:
        row, text = LiveJudgementRow, LiveJudgementText
        part = or_(and_(Run.rating > 0, row.score < 0.5), and_(Run.rating < 0, row.score >= 0.5))
        query = (
            select(*_OF_A_RUN, *_judge(row), row.score, text.reason, Run.rating, Run.note)
            .join(text, text.judgement_id == row.id, isouter=True)
            .where(part)
            .order_by(func.abs(row.score - 0.5).desc(), row.run_id)
        )
        for found in session.execute(self._of_runs(query, since).limit(most)):
            id, created_at, model, tier, prompt, name, weights, version, score, reason, rating, note = found
            yield Disagreement(
                run_id=id, created_at=created_at, model=model, tier=tier, prompt=prompt,
                judge=JudgeId(name, weights, version), score=score, reason=reason or "", other=None,
                other_score=float(rating > 0), other_reason=note,
            )  # fmt: skip

    def _of_runs(self, query: Select[Any], since: datetime | None) -> Select[Any]:
        query = query.join(Run, Run.id == LiveJudgementRow.run_id).join(RunContent, RunContent.run_id == Run.id)
        query = query.where(*visible(Run.person_id, self._viewer))
        return query if since is None else query.where(LiveJudgementRow.run_created_at >= since)


_OF_A_RUN = (
    Run.id, Run.created_at, LiveJudgementRow.model, LiveJudgementRow.tier, func.substr(RunContent.prompt, 1, _PROMPT),
)  # fmt: skip


def _judge(row: Any) -> Sequence[Any]:
    return row.name, row.weights_sha256, row.version


def _number(value: Any) -> float:
    """Of a sum, which PostgreSQL gives as a decimal."""
    return float(value or 0)
