"""The repository of golden prompts: what is accepted, how they were answered since, and what became of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, select
from sqlalchemy.orm import Session, aliased

from app.store.database.errors import GoneError
from app.store.database.identity import new_id, now
from app.store.database.session import Database
from app.store.leases.records import StartedFrom, UnderWay
from app.store.leases.repository import Leases
from app.store.outbox.outbox import Outbox
from app.store.outbox.results import Result
from app.store.people.visibility import Seen, visible
from app.store.sentinel.records import GoldenAnswer, GoldenPrompt, RoundCause, SentinelRound
from app.store.sentinel.schema import GoldenAnswerRow, GoldenRow, RoundRow
from app.store.sentinel.writing import ANSWER, answer_from, golden_from, row_of, values_of
from engine.types import GenerationRequest

LEASE = "sentinel"
"""Whoever has this one replays, on whichever server of the database."""
_NAME = "The sentinel"


class SentinelStore(Seen):
    """Keeps golden prompts beside the runs. Safe to share between threads.

    Seen by somebody, it is without others' golden prompts. Every method raises `StoreError`, written for the user,
    where the database cannot be used.
    """

    def __init__(self, database: Database, outbox: Outbox, leases: Leases) -> None:
        """Use a database whose schema is up to date, the outbox before it, and what tells who replays."""
        self._database = database
        self._outbox = outbox
        self._leases = leases

    # --- golden prompts -----------------------------------------------------------------------------

    def pick(
        self,
        request: GenerationRequest,
        baseline: GoldenAnswer,
        *,
        name: str,
        checker: str | None = None,
        expected: Any = None,
    ) -> str:
        """Keep a new golden prompt as the viewer's, and return its id.

        Args:
            request: what is asked.
            baseline: the answer that is accepted; its ids of the golden prompt and of the answer are made here.
            name: what it is called.
            checker: see `GoldenPrompt`, like the following.
            expected: what the checker compares with.
        """
        golden_id, answer_id, moment = new_id(), new_id(), now()
        golden = GoldenRow(
            id=golden_id,
            name=name,
            person_id=self._viewer.person_id if self._viewer else None,
            created_at=moment,
            run_id=baseline.run_id,
            messages=[message.to_dict() for message in request.messages],
            completion=request.completion,
            config=request.config.to_dict(),
            checker=checker,
            expected=expected,
            baseline_id=answer_id,
        )
        values = values_of(baseline) | {"id": answer_id, "golden_id": golden_id}
        with self._database.write() as session:
            session.add(golden)
            session.flush()
            row = row_of(values, number=1)
            row.accepted_at = moment
            session.add(row)
        return golden_id

    def all(self) -> tuple[GoldenPrompt, ...]:
        """Those that the viewer may see, the oldest first."""
        rows = select(GoldenRow).where(*self._visible()).order_by(GoldenRow.created_at, GoldenRow.id)
        with self._database.read() as session:
            return tuple(golden_from(row) for row in session.scalars(rows))

    def get(self, golden_id: str) -> GoldenPrompt:
        """One of them.

        Raises:
            GoneError: there is none of that id that the viewer may see.
        """
        with self._database.read() as session:
            return golden_from(self._seen(session, golden_id))

    def of_run(self, run_id: str) -> GoldenPrompt | None:
        """The one that was picked from a run; ``None`` if none was that the viewer may see."""
        rows = select(GoldenRow).where(GoldenRow.run_id == run_id, *self._visible()).limit(1)
        with self._database.read() as session:
            row = session.scalars(rows).first()
            return None if row is None else golden_from(row)

    def rename(self, golden_id: str, name: str) -> None:
        """Call it something else.

        Raises:
            GoneError: there is none of that id that the viewer may see.
        """
        with self._database.write() as session:
            self._seen(session, golden_id).name = name

    def set_checker(self, golden_id: str, checker: str | None, expected: Any, score: float | None) -> None:
        """Say how answers are scored from now on.

        Args:
            golden_id: which one.
            checker: see `GoldenPrompt`.
            expected: what it compares with.
            score: of the accepted answer.

        Raises:
            GoneError: there is none of that id that the viewer may see.
        """
        with self._database.write() as session:
            row = self._seen(session, golden_id)
            row.checker, row.expected = checker, expected
            if (baseline := session.get(GoldenAnswerRow, row.baseline_id)) is not None:
                baseline.score = score

    def delete(self, golden_id: str) -> None:
        """Delete it with all its answers; its runs stay.

        Raises:
            GoneError: there is none of that id that the viewer may see.
        """
        with self._database.write() as session:
            row = self._seen(session, golden_id)
            session.execute(delete(GoldenAnswerRow).where(GoldenAnswerRow.golden_id == row.id))
            session.delete(row)

    # --- answers ------------------------------------------------------------------------------------

    def keep_answer(self, answer: GoldenAnswer) -> None:
        """Keep the answer of a replay. Of one round the first to a golden prompt stays.

        Raises:
            GoneError: the golden prompt was deleted.
        """
        self._outbox.keep(Result(ANSWER, answer.id, values_of(answer)))

    def complete(self, answer_id: str, measured: GoldenAnswer) -> None:
        """Give an accepted answer the times and the KLD that it lacks, as another one of the same state has them."""
        with self._database.write() as session:
            row = session.get(GoldenAnswerRow, answer_id)
            if row is None:
                return
            if not row.tpot_s and not row.ttft_s:
                row.tpot_s, row.ttft_s = list(measured.tpot_s), list(measured.ttft_s)
            if row.kld is None:
                row.kld, row.kld_tokens, row.no_kld = measured.kld, measured.kld_tokens, measured.no_kld

    def baselines(self) -> dict[str, GoldenAnswer]:
        """What is accepted, by golden prompt."""
        return self._answers_with(GoldenAnswerRow.id == GoldenRow.baseline_id)

    def latest(self) -> dict[str, GoldenAnswer]:
        """The last replay's answers, by golden prompt; none of one that was never replayed."""
        row = GoldenAnswerRow
        other = aliased(row)
        newest = select(func.max(other.number)).where(other.golden_id == row.golden_id).scalar_subquery()
        return self._answers_with(row.number == newest, row.number > 1)

    def history(self, golden_id: str, *, limit: int = 100) -> tuple[GoldenAnswer, ...]:
        """A golden prompt's answers, the newest first, the picked one among them.

        Raises:
            GoneError: there is none of that id that the viewer may see.
        """
        row = GoldenAnswerRow
        rows = select(row).where(row.golden_id == golden_id).order_by(row.number.desc()).limit(limit)
        with self._database.read() as session:
            self._seen(session, golden_id)
            return tuple(answer_from(each) for each in session.scalars(rows))

    def known(self) -> tuple[GoldenAnswer, ...]:
        """What was filed as known against what is accepted now, of each golden prompt the oldest answer first."""
        row = GoldenAnswerRow
        found = self._rows().where(row.known_at.is_not(None), row.against_id == GoldenRow.baseline_id)
        with self._database.read() as session:
            return tuple(answer_from(each) for each in session.scalars(found))

    def accept(self, answer_id: str) -> None:
        """Make an answer the baseline that later ones are held against.

        Raises:
            GoneError: there is none of that id that the viewer may see, or it is none.
        """
        with self._database.write() as session:
            row = self._seen_answer(session, answer_id)
            if row.failure is not None:
                raise GoneError("There is no answer that could be accepted.")
            golden = session.get_one(GoldenRow, row.golden_id)
            row.accepted_at = now()
            golden.baseline_id = row.id

    def file(self, answer_id: str, note: str) -> None:
        """File away what was found of an answer as known, with a note.

        Raises:
            GoneError: there is none of that id that the viewer may see.
        """
        with self._database.write() as session:
            row = self._seen_answer(session, answer_id)
            row.known_at, row.note = now(), note

    # --- rounds -------------------------------------------------------------------------------------

    def begin(
        self, cause: RoundCause, golden_ids: Sequence[str], started_from: StartedFrom, changes: Sequence[str] = ()
    ) -> SentinelRound:
        """Begin a round, or go on with one that was interrupted; nobody else replays until :meth:`end`, or the end of
        this process.

        Args:
            cause: why.
            golden_ids: what is replayed; an interrupted round goes on with its own, and these besides.
            started_from: where its job was started.
            changes: what has changed, where that is the cause.

        Raises:
            UnderWayError: somebody replays already, on this server or another.
        """
        with self._leases.deciding:
            with self._database.write() as session:
                self._leases.take(session, LEASE, _NAME, started_from)
                unfinished = select(RoundRow).where(RoundRow.ended_at.is_(None)).order_by(RoundRow.created_at)
                row = session.scalars(unfinished.limit(1)).first()
                if row is None:
                    row = RoundRow(id=new_id(), created_at=now(), cause=cause, golden_ids=[], changes=list(changes))
                    session.add(row)
                row.golden_ids = list(dict.fromkeys([*row.golden_ids, *golden_ids]))
                session.flush()
                begun = self._round(session, row)
            self._leases.hold(LEASE)
        return begun

    def end(self, round_id: str, *, finished: bool) -> None:
        """Let others replay. A round that is not finished is gone on with the next time."""
        try:
            with self._database.write() as session:
                row = session.get(RoundRow, round_id)
                if row is not None and finished:
                    row.ended_at = now()
                self._leases.give_back(session, LEASE)
        finally:
            self._leases.let_go(LEASE)

    def answered(self, round_id: str) -> frozenset[str]:
        """The golden prompts that have an answer of a round, or a reason why there is none."""
        with self._database.read() as session:
            return frozenset(
                session.scalars(select(GoldenAnswerRow.golden_id).where(GoldenAnswerRow.round_id == round_id))
            )

    def rounds(self, *, limit: int = 20) -> tuple[SentinelRound, ...]:
        """The newest first."""
        rows = select(RoundRow).order_by(RoundRow.created_at.desc(), RoundRow.id.desc()).limit(limit)
        with self._database.read() as session:
            return tuple(self._round(session, row) for row in session.scalars(rows))

    @property
    def under_way(self) -> UnderWay | None:
        """The job that replays right now, wherever it does; ``None`` where none does."""
        with self._database.read() as session:
            return self._leases.under_way(session).get(LEASE)

    # ------------------------------------------------------------------------------------------------

    def _round(self, session: Session, row: RoundRow) -> SentinelRound:
        counted = select(func.count()).where(GoldenAnswerRow.round_id == row.id)
        return SentinelRound(
            id=row.id,
            created_at=row.created_at,
            cause=RoundCause(row.cause),
            changes=tuple(row.changes),
            golden_ids=tuple(row.golden_ids),
            answered=session.scalar(counted) or 0,
            ended_at=row.ended_at,
        )

    def _answers_with(self, *conditions: ColumnElement[bool]) -> dict[str, GoldenAnswer]:
        with self._database.read() as session:
            return {row.golden_id: answer_from(row) for row in session.scalars(self._rows().where(*conditions))}

    def _rows(self) -> Select[GoldenAnswerRow]:
        return (
            select(GoldenAnswerRow)
            .join(GoldenRow, GoldenRow.id == GoldenAnswerRow.golden_id)
            .where(*self._visible())
            .order_by(GoldenAnswerRow.golden_id, GoldenAnswerRow.number)
        )

    def _visible(self) -> Collection[ColumnElement[bool]]:
        return visible(GoldenRow.person_id, self._viewer)

    def _seen(self, session: Session, golden_id: str) -> GoldenRow:
        row = session.get(GoldenRow, golden_id)
        if row is None or (self._viewer and not self._viewer.may_see(row.person_id)):
            raise GoneError("There is no such golden prompt any more.")
        return row

    def _seen_answer(self, session: Session, answer_id: str) -> GoldenAnswerRow:
        row = session.get(GoldenAnswerRow, answer_id)
        if row is None:
            raise GoneError("There is no such answer any more.")
        self._seen(session, row.golden_id)
        return row
