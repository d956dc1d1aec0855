"""The repository of live judgements: which runs a judge may be asked about, what it said, and what that comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    type_coerce,
)
from sqlalchemy.orm import Session, aliased

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.errors import GoneError
from app.store.database.identity import new_id, now
from app.store.database.session import Database
from app.store.experiments.records import JudgeId, NoVerdict
from app.store.judging.records import Candidate, Disagreement, JudgeCounts, LiveJudgement, ScoreSums
from app.store.judging.schema import LiveJudgementRow, LiveJudgementText
from app.store.leases.records import StartedFrom, UnderWay
from app.store.leases.repository import Leases
from app.store.outbox.outbox import Outbox
from app.store.outbox.results import Result, Writer
from app.store.people.visibility import Seen, visible
from app.store.runs.queries import conditions
from app.store.runs.records import WITHOUT_LABS, RunFilter, RunStatus
from app.store.runs.schema import Run, RunContent

LEASE = "judging"
_NAME = "Judging live traffic"
_JUDGEMENT = "live-judgement"
_QUARTER_US = 15 * 60 * 1_000_000
_DRAW = 4
"""Hex digits at a run's end, which are random: what decides whether it is in a sample."""
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
        """Runs of a sample that a judge has not been asked about, the newest first.

        Args:
            judge: who; what it could not be reached for is asked again.
            share: of the runs, 0 to 1, by their ids, so that it is the same sample each time; and of each
                configuration one at least.
            since: they began at this moment or later.
            most: so many are given.
        """
        # the ends of ids are random hex digits, which sort alike everywhere
        draw = func.substr(Run.id, 33 - _DRAW, _DRAW)
        drawn = min(round(share * 16**_DRAW), 16**_DRAW)
        live = conditions(RunFilter(statuses=(RunStatus.FINISHED,), sources=WITHOUT_LABS, since=since))
        first = select(func.min(draw.concat(Run.id))).where(*live).group_by(Run.config_hash)
        sampled = true() if drawn == 16**_DRAW else or_(draw < f"{drawn:0{_DRAW}x}", draw.concat(Run.id).in_(first))
        judged = exists().where(LiveJudgementRow.run_id == Run.id, *_by(LiveJudgementRow, judge), _is_settled())
        rows = (
            select(Run.id, Run.created_at, Run.config_hash, Run.model, Run.precision, RunContent.cascade)
            .join(RunContent, RunContent.run_id == Run.id)
            .where(*live, sampled, ~judged, RunContent.text != "")
            .order_by(Run.created_at.desc(), Run.id.desc())
            .limit(most)
        )
        with self._database.read() as session:
            return tuple(
                Candidate(
                    run_id=id,
                    created_at=created_at,
                    config_hash=config_hash,
                    model=model,
                    precision=precision,
                    tier=(cascade or {}).get("tier") or f"{model} {precision}",
                )
                for id, created_at, config_hash, model, precision, cascade in session.execute(rows)
            )

    def keep(self, judgement: LiveJudgement) -> None:
        """Keep what a judge says, in place of what it said before of the same run.

        Raises:
            GoneError: the run was deleted.
        """
        values = {
            **asdict(judgement.run),
            "created_at": to_microseconds(judgement.run.created_at),
            **asdict(judgement.judge),
            **{name: getattr(judgement, name) for name in _SAID},
            "judged_at": to_microseconds(now()),
        }
        about = f"{judgement.run.run_id} {judgement.judge}"
        self._outbox.keep(Result(_JUDGEMENT, about, values))

    def spent(self, since: datetime) -> tuple[int, float]:
        """How many questions were asked since a moment, and what they cost."""
        row = LiveJudgementRow
        sums = select(func.count(), func.coalesce(func.sum(row.cost), 0.0)).where(row.judged_at >= since)
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
        query = query.where(*_by(row, judge), row.score.is_not(None), Run.rating != 0).limit(most)
        with self._database.read() as session:
            return tuple((score or 0.0, float(rating > 0)) for score, rating in session.execute(query))

    def beside_another(self, judge: JudgeId, other: JudgeId, *, most: int = 10_000) -> tuple[tuple[float, float], ...]:
        """Two judges' scores of runs that both have scored."""
        mine, theirs = LiveJudgementRow, aliased(LiveJudgementRow)
        query = select(mine.score, theirs.score).join(theirs, theirs.run_id == mine.run_id)
        query = query.where(*_by(mine, judge), *_by(theirs, other))
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
_SAID = (
    "score", "reason", "no_verdict", "detail", "seconds", "prompt_tokens", "completion_tokens", "cost",
)  # fmt: skip


def _judge(row: Any) -> Sequence[Any]:
    return row.name, row.weights_sha256, row.version


def _by(row: Any, judge: JudgeId) -> list[ColumnElement[bool]]:
    return [row.name == judge.name, row.weights_sha256 == judge.weights_sha256, row.version == judge.version]


def _is_settled() -> ColumnElement[bool]:
    none = LiveJudgementRow.no_verdict
    return or_(none.is_(None), none != NoVerdict.NO_ANSWER)


def _number(value: Any) -> float:
    """Of a sum, which PostgreSQL gives as a decimal."""
    return float(value or 0)


def _write(session: Session, values: Mapping[str, Any]) -> None:
    if session.scalar(select(Run.id).where(Run.id == values["run_id"])) is None:
        raise GoneError("The run that this judgement is about was deleted.")
    row, judge = LiveJudgementRow, JudgeId(values["name"], values["weights_sha256"], values["version"])
    same = select(row.id).where(row.run_id == values["run_id"], *_by(row, judge))
    for id in session.scalars(same).all():
        session.execute(delete(LiveJudgementText).where(LiveJudgementText.judgement_id == id))
        session.execute(delete(row).where(row.id == id))
    id = new_id()
    figures = {name: values[name] for name in _SAID if name not in ("reason", "detail")}
    of_run = {name: values[name] for name in ("run_id", "config_hash", "model", "precision", "tier")}
    session.add(
        row(
            id=id,
            **of_run,
            **figures,
            **asdict(judge),
            run_created_at=from_microseconds(values["created_at"]),
            judged_at=from_microseconds(values["judged_at"]),
        )
    )
    session.flush()
    session.add(
        LiveJudgementText(judgement_id=id, run_id=values["run_id"], reason=values["reason"], detail=values["detail"])
    )
    session.flush()


WRITERS: Mapping[str, Writer] = {_JUDGEMENT: _write}
