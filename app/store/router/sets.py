"""Sets of prompts that tiers are recorded on: kept, named, copied, deleted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import delete, insert, literal, select
from sqlalchemy.orm import Session

from app.store.database.errors import GoneError
from app.store.database.identity import new_id, now
from app.store.database.packing import pack, unpack
from app.store.database.session import Database
from app.store.outbox.outbox import Outbox
from app.store.people.schema import TextOwner
from app.store.people.texts import claim, may_see_text, own_names, visible_text
from app.store.people.visibility import Seen, visible
from app.store.router.records import KeptSet
from app.store.router.schema import RouterAnswer, RouterMark, RouterRenewal, RouterSet, RouterVerdict
from engine.evaluation.tasks import Task

_AT_ONCE = 500
"""Prompts of a statement: databases bound how many values one takes."""


class SetStore(Seen):
    """The part of the Router lab's store that keeps sets of prompts. Safe to share between threads.

    Seen by somebody, it is without others' sets.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        """Use a database whose schema is up to date, and the outbox before it."""
        self._database = database
        self._outbox = outbox

    @property
    def person_id(self) -> str | None:
        """Who looks; ``None`` for the application itself."""
        return self._viewer.person_id if self._viewer else None

    def keep_set(self, sha256: str, name: str, tasks: Sequence[Task], *, everybodys: bool = False) -> None:
        """Keep a set under its hash, as the viewer's, or if it is ``everybodys`` the desk's. One that is there already
        stays as it is, unless it becomes everybody's."""
        with self._database.write() as session:
            kept = session.get(RouterSet, sha256)
            claim(session, sha256, name, self._viewer, everybodys=everybodys, is_new=kept is None)
            if kept and everybodys:
                kept.name = name
            elif kept is None:
                payload = pack([task.to_dict() for task in tasks])
                session.add(RouterSet(sha256=sha256, name=name, created_at=now(), payload=payload))

    def sets(self) -> tuple[KeptSet, ...]:
        """The sets kept that the viewer may see, newest first; those of their own by the name they gave."""
        rows = select(RouterSet.sha256, RouterSet.name, RouterSet.created_at)
        rows = rows.where(*visible_text(RouterSet.sha256, self._viewer))
        with self._database.read() as session:
            found = session.execute(rows.order_by(RouterSet.created_at.desc(), RouterSet.sha256)).all()
            names = own_names(session, self._viewer)
        return tuple(
            KeptSet(sha256=sha256, name=names.get(sha256, name), created_at=created_at)
            for sha256, name, created_at in found
        )

    def tasks(self, sha256: str) -> tuple[Task, ...]:
        """The prompts of a set, in its order; none where there is no such set that the viewer may see."""
        with self._database.read() as session:
            kept = session.get(RouterSet, sha256)
            if kept is None or not may_see_text(session, sha256, self._viewer):
                return ()
            return tuple(Task.from_dict(tree) for tree in unpack(kept.payload))

    def rename_set(self, sha256: str, name: str) -> None:
        """Call a set something else: for the viewer where it is theirs, for everybody where it is the desk's.

        Raises:
            GoneError: there is no such set that the viewer may see.
        """
        with self._database.write() as session:
            kept = self._seen(session, sha256)
            claimed = session.get(TextOwner, (sha256, self._viewer.person_id)) if self._viewer else None
            if claimed:
                claimed.name = name
            else:
                kept.name = name

    def delete_set(self, sha256: str) -> None:
        """Delete a set, with all that was recorded of it; where it is somebody else's too, only the viewer's claim.

        Raises:
            GoneError: there is no such set that the viewer may see.
        """
        with self._database.write() as session:
            kept = self._seen(session, sha256)
            owners = set(session.scalars(select(TextOwner.person_id).where(TextOwner.sha256 == sha256)))
            if self._viewer and self._viewer.person_id in owners and len(owners) > 1:
                session.delete(session.get_one(TextOwner, (sha256, self._viewer.person_id)))
                return
            session.execute(delete(TextOwner).where(TextOwner.sha256 == sha256))
            session.execute(delete(RouterMark).where(RouterMark.set_id == sha256))
            for table in (RouterRenewal, RouterVerdict, RouterAnswer):
                session.execute(delete(table).where(table.set_sha256 == sha256))
            session.delete(kept)

    def copy_answers(self, source: str, target: str, prompt_ids: Collection[str]) -> None:
        """Give a new set the answers that another one has to the same prompts, with what judges say of them, the marks
        that the viewer sees, and word of those that are to be recorded again.

        Args:
            source: the set that has them.
            target: the set that is given them.
            prompt_ids: of the prompts that are the same in both.

        Raises:
            GoneError: there is no such set that the viewer may see.
        """
        mark = RouterMark
        copied: Mapping[type[RouterAnswer | RouterVerdict], Sequence[str]] = {
            RouterAnswer: (
                "prompt_id", "tier", "weights_sha256", "created_at", "payload", "environment", "person_id",
            ),
            RouterVerdict: (
                "prompt_id", "tier", "answer_sha256", "judge", "weights_sha256", "created_at", "right", "confidence",
            ),
        }  # fmt: skip
        marked = ("prompt_id", "tier", "weights_sha256", "answer_sha256", "person_id", "created_at", "right")
        wanted = list(prompt_ids)
        with self._database.write() as session:
            self._seen(session, source)
            self._seen(session, target)
            due = ("tier", "weights_sha256", "since")
            renewals = select(literal(target), *(getattr(RouterRenewal, name) for name in due))
            renewals = renewals.where(RouterRenewal.set_sha256 == source)
            session.execute(insert(RouterRenewal).from_select(["set_sha256", *due], renewals))
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                for row, names in copied.items():
                    rows = select(literal(target), *(getattr(row, name) for name in names))
                    rows = rows.where(row.set_sha256 == source, row.prompt_id.in_(some))
                    session.execute(insert(row).from_select(["set_sha256", *names], rows))
                marks = select(mark).where(
                    mark.set_id == source, mark.prompt_id.in_(some), *visible(mark.person_id, self._viewer)
                )
                for said in session.scalars(marks).all():
                    fields = {name: getattr(said, name) for name in marked}
                    session.add(mark(id=new_id(), set_id=target, **fields))

    def _seen(self, session: Session, sha256: str) -> RouterSet:
        kept = session.get(RouterSet, sha256)
        if kept is None or not may_see_text(session, sha256, self._viewer):
            raise GoneError("There is no such data set any more.")
        return kept
