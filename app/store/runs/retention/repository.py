"""The rule by which runs are kept, and pruning by it in small steps."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select
from sqlalchemy.orm import Session

from app.store.database.columns import Base
from app.store.database.identity import now
from app.store.database.session import Database
from app.store.runs.records import RunStatus
from app.store.runs.retention.records import KEEP_ALL, Pruned, RetentionRule
from app.store.runs.retention.schema import Retention
from app.store.runs.rollups.buckets import bucket_of, holding_among, mark_pruned
from app.store.runs.schema import Run

AT_ONCE = 100
"""Runs: what waits to be written must not wait long for them."""
_ROUND_EVERY_S = 600.0
_ROW = 1
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Round:
    """One way through the runs that are old enough to go."""

    rule: RetentionRule
    before: datetime
    stay: frozenset[str]
    """Runs that tell what sums are of: of each configuration one, where none is new enough."""
    after: tuple[datetime, str] | None = None
    """The last run that was looked at."""


class RetentionStore:
    """Keeps the rule, and prunes. A run stays, however old, that is under way, tagged, rated or noted, or that anything
    else refers to: a conversation, an experiment, a verdict. So does one run of each configuration, and every run of a
    quarter of an hour that was not summed up yet.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database
        self._round: _Round | None = None
        self._pruning = threading.Lock()
        """Held for a step."""
        self._next_round: float | None = None
        """When the background looks again; ``None`` where it does not prune, as in a command."""
        self.fixed: RetentionRule | None = None
        """A rule that the administrator has set for this server, in the place of the one that is kept."""

    def prune_in_background(self, fixed: RetentionRule | None = None) -> None:
        """Let this process prune by the rule that holds, or by one that its administrator has set."""
        self.fixed = fixed
        self._next_round = monotonic()

    @property
    def in_background(self) -> bool:
        """Whether this process prunes."""
        return self._next_round is not None

    @property
    def rule(self) -> RetentionRule:
        """The rule that holds."""
        if self.fixed is not None:
            return self.fixed
        with self._database.read() as session:
            row = session.get(Retention, _ROW)
            return RetentionRule(row.keep_days, row.keep_runs) if row else KEEP_ALL

    def set_rule(self, rule: RetentionRule) -> None:
        """Keep another rule. Runs go by it in the background."""
        with self._database.write() as session:
            row = _row(session)
            row.keep_days, row.keep_runs = rule.keep_days, rule.keep_runs
        if self._next_round is not None:
            self._next_round = monotonic()

    @property
    def pruned(self) -> Pruned | None:
        """What was pruned so far; ``None`` if nothing was."""
        with self._database.read() as session:
            row = session.get(Retention, _ROW)
            if row is None or row.pruned_before is None or row.pruned_at is None:
                return None
            return Pruned(row.pruned_runs, row.pruned_before, row.pruned_at)

    def old_enough(self, rule: RetentionRule) -> int:
        """How many runs are old enough to go by a rule, those that stay all the same among them."""
        with self._database.read() as session:
            before = _before(session, rule)
            if before is None:
                return 0
            return session.scalar(select(func.count()).select_from(Run).where(Run.created_at < before)) or 0

    def would_go(self, rule: RetentionRule) -> int:
        """How many runs would be pruned by a rule once all quarters of an hour are summed up."""
        with self._database.read() as session:
            before = _before(session, rule)
            if before is None:
                return 0
            gone = session.scalars(select(Run.id).where(Run.created_at < before, *_may_go())).all()
            return len(gone) - len(_told_by(session, before).intersection(gone))

    def prune_some(self, rule: RetentionRule | None = None) -> int | None:
        """Prune a few runs, the oldest first.

        Args:
            rule: by which; the one that holds unless given. A round ends where it is another than before.

        Returns:
            how many went; ``None`` at the end of a round.
        """
        with self._pruning:
            rule = self.rule if rule is None else rule
            around = self._round
            if around is None or around.rule != rule:
                around = self._begin(rule)
            gone, self._round = (None, None) if around is None else self._step(around)
            return gone

    def _step(self, around: _Round) -> tuple[int | None, _Round | None]:
        """How many runs went, and how the round goes on; ``None`` twice at its end."""
        with self._database.read() as session:
            old = select(Run.id, Run.created_at).where(Run.created_at < around.before, *_may_go())
            if around.after is not None:
                moment, run_id = around.after
                old = old.where(or_(Run.created_at > moment, and_(Run.created_at == moment, Run.id > run_id)))
            rows = session.execute(old.order_by(Run.created_at, Run.id).limit(AT_ONCE)).all()
        if not rows:
            return None, None
        gone = self._prune({run_id: created_at for run_id, created_at in rows if run_id not in around.stay})
        return gone, replace(around, after=(rows[-1].created_at, rows[-1].id))

    def prune_when_due(self) -> bool:
        """A step of the background: prune a few runs, or nothing until the next round; says whether there are more."""
        if self._next_round is None or (self._round is None and monotonic() < self._next_round):
            return False
        if self.prune_some() is not None:
            return True
        self._next_round = monotonic() + _ROUND_EVERY_S
        return False

    def _begin(self, rule: RetentionRule) -> _Round | None:
        with self._database.read() as session:
            before = _before(session, rule)
            if before is None or session.scalar(select(Run.id).where(Run.created_at < before).limit(1)) is None:
                return None
            return _Round(rule, before, _told_by(session, before))

    def _prune(self, old: dict[str, datetime]) -> int:
        with self._database.write(hasty=True) as session:
            whole = holding_among(session, {bucket_of(created_at) for created_at in old.values()})
            ids = [run_id for run_id, created_at in old.items() if bucket_of(created_at) in whole]
            # once more: somebody may have tagged one of them meanwhile
            removed = delete(Run).where(Run.id.in_(ids), *_may_go()).returning(Run.created_at)
            gone = session.scalars(removed).all()
            if gone:
                mark_pruned(session, {bucket_of(created_at) for created_at in gone})
                row = _row(session)
                newest = max(gone) + _MICROSECOND
                row.pruned_runs += len(gone)
                row.pruned_before = newest if row.pruned_before is None else max(row.pruned_before, newest)
                row.pruned_at = now()
        return len(gone)


def _row(session: Session) -> Retention:
    row = session.get(Retention, _ROW, with_for_update=True)
    if row is None:
        row = Retention(id=_ROW, pruned_runs=0)
        session.add(row)
    return row


def _before(session: Session, rule: RetentionRule) -> datetime | None:
    """The moment before which runs are old enough to go; ``None`` where none is."""
    moments = []
    if rule.keep_days is not None:
        moments.append(now() - timedelta(days=rule.keep_days))
    if rule.keep_runs is not None:
        first = select(Run.created_at).order_by(Run.created_at.desc()).offset(rule.keep_runs).limit(1)
        if (newest := session.scalar(first)) is not None:
            moments.append(newest + _MICROSECOND)
    return max(moments, default=None)


def _told_by(session: Session, before: datetime) -> frozenset[str]:
    """One run of each configuration of which there is none that is new enough to stay."""
    last = select(func.max(Run.id)).group_by(Run.config_hash).having(func.max(Run.created_at) < before)
    return frozenset(session.scalars(last))


def _may_go() -> list[ColumnElement[bool]]:
    """That nobody has marked a run, and nothing refers to it, as conditions on `Run`."""
    references = [
        key.parent
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column is Run.__table__.c.id and not key.info.get("lets_go")
    ]
    return [
        Run.status != RunStatus.RUNNING,
        Run.rating == 0,
        Run.note == "",
        *(~exists().where(column == Run.id) for column in references),
    ]
