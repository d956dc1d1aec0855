"""The repository of runs: the only way to the run database."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from app.store.chat import writing as chat_writing
from app.store.chat.repository import ChatStore
from app.store.database.errors import RunNotFoundError, StoreError
from app.store.database.identity import new_id, now
from app.store.database.migrate import migrate
from app.store.database.owner import Owner, Presence
from app.store.database.session import Database
from app.store.labs import drafts
from app.store.labs import writers as lab_writers
from app.store.labs.drafts import DraftStore
from app.store.labs.repository import LabStore
from app.store.outbox.keeper import Keeper
from app.store.outbox.outbox import Outbox, Waiting
from app.store.outbox.spool import Spool, places
from app.store.router import repository as router
from app.store.router.repository import RouterStore
from app.store.runs.endings import (
    ENDING,
    LOSSLESSNESS,
    beginning_of,
    ending,
    losslessness_of,
    write_ending,
    write_losslessness,
)
from app.store.runs.reading import RunReader
from app.store.runs.records import Rating, RunOutcome, RunStatus
from app.store.runs.schema import DeletedRun, Run, RunContent, RunTag, RunTimeline
from app.store.runs.timeline import Timeline
from engine.types import GenerationRequest, Losslessness

_log = logging.getLogger(__name__)

TAG_CHARACTERS = 60
_IDS_AT_ONCE = 500


class RunStore(RunReader):
    """Keeps runs. Safe to share between threads: every operation has a session of its own.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database, folders: Sequence[Path] = ()) -> None:
        """Use a database whose schema is up to date; `open` is the way to make sure of that."""
        writers = {ENDING: write_ending, LOSSLESSNESS: write_losslessness}
        writers |= {**chat_writing.WRITERS, **lab_writers.WRITERS, **drafts.WRITERS, **router.WRITERS}
        spool = Spool(places(str(database.url), database.file, folders))
        super().__init__(database, Outbox(database, writers, spool))
        database.before_write = self._outbox.deliver
        self.lab = LabStore(database, self._outbox)
        """What the labs measured, in the same database."""
        self.chat = ChatStore(database, self._outbox)
        """The conversations, in the same database."""
        self.drafts = DraftStore(database, self._outbox)
        """What drafters did in the Speculation lab, in the same database."""
        self.router = RouterStore(database, self._outbox)
        """What the Router lab recorded and made, in the same database."""
        self._presence = Presence(database.file)
        self._owner = self._presence.owner
        self._beginnings: dict[str, Mapping[str, Any]] = {}
        """Of the runs that are under way here, as they were made."""
        self._keeper = Keeper(self._outbox, self.look_around)

    @classmethod
    def open(cls, database_url: str, folders: Sequence[Path] = ()) -> Self:
        """Open the database, making its folder and bringing its schema up to date.

        Results that a dead process wrote aside are taken in, and runs that it left running are marked interrupted.

        Args:
            database_url: a SQLAlchemy URL.
            folders: where results may be written aside if the folder of the database takes none.
        """
        migrate(database_url)
        store = cls(Database(database_url, watched=True), folders)
        try:
            store.look_around()
        except StoreError as error:  # on a full disk, say; what is there can be read, and the keeper tries again
            _log.warning("What earlier servers left behind could not be put in order: %s", error)
        return store

    def close(self) -> None:
        """Write what waits, if that is possible now, and close the connections.

        What still waits lies in files, for the next start.
        """
        self._keeper.close()
        self._outbox.let_go()
        self._presence.close()
        self._database.close()

    # --- what waits, and what became of the file --------------------------------------------------

    @property
    def waiting(self) -> Waiting | None:
        """The results that could not be written yet; ``None`` if there are none. Never waits for the database."""
        return self._outbox.waiting

    @property
    def refused(self) -> tuple[int, Path] | None:
        """How many results could never be stored since the start, and the file that has the last of them."""
        return self._outbox.refused

    @property
    def left_behind(self) -> tuple[Path, str] | None:
        """A file of an earlier server's results that could not be taken in yet, and why, for the user."""
        return self._outbox.left_behind

    @property
    def file_lost(self) -> str | None:
        """What became of a database file that was deleted or replaced while it was open, for the user."""
        return self._database.file_lost

    @property
    def log_lost(self) -> str | None:
        """What became of a database's log that was deleted while it was open, for the user; ``None`` if none was."""
        return self._database.log_lost

    def open_what_is_there(self) -> None:
        """Go on with the file that now is at the database's path, or a new one, and write what waits into it.

        Raises:
            StoreError: it is no run database, or one of a newer version. Nothing changes then.
        """
        self._database.leave_lost_file()
        migrate(self._database.url.render_as_string(hide_password=False))
        self._database.forget_file()
        self._presence.renew()
        self._outbox.deliver()

    def look_around(self) -> None:
        """Take in what dead processes wrote aside, and mark the runs that they left running as interrupted."""
        self._presence.renew()
        self._outbox.take_in()
        self._mark_interrupted()
        self._presence.tidy_up()

    # --- a run's life -----------------------------------------------------------------------------

    def create_run(
        self,
        request: GenerationRequest,
        *,
        session_id: str,
        environment: Mapping[str, Any],
        group_id: str | None = None,
    ) -> str:
        """Insert a run as running, and return its id: 32 hex digits that sort by time."""
        config = request.config
        created_at = now()
        run_id = new_id()
        run = Run(
            id=run_id,
            created_at=created_at,
            status=RunStatus.RUNNING,
            group_id=group_id,
            session_id=session_id,
            model=config.model,
            backend=config.backend,
            precision=config.precision,
            config_hash=config.hash,
            seed=config.sampling.seed,
            owner_host=self._owner.host,
            owner_pid=self._owner.pid,
            owner_started=self._owner.started,
            owner_lock=self._owner.lock,
            seen_at=created_at,
            content=RunContent(
                prompt=request.prompt,
                messages=[message.to_dict() for message in request.messages],
                config=config.to_dict(),
                environment=dict(environment),
            ),
        )
        beginning = beginning_of(run)
        with self._database.write() as session:
            session.add(run)
        self._beginnings[run_id] = beginning
        return run_id

    def save_progress(self, run_id: str, text: str, timeline: Timeline | None = None) -> None:
        """Keep what a running run has written so far, and show that its process is alive.

        Gives up at once where another process is writing: the next save will do as well.

        Raises:
            RunNotFoundError: the run was deleted, or is no longer running.
        """
        with self._database.write(hasty=True) as session:
            running = (Run.id == run_id, Run.status == RunStatus.RUNNING)
            if session.scalar(update(Run).where(*running).values(seen_at=now()).returning(Run.id)) is None:
                raise RunNotFoundError(run_id)
            session.execute(update(RunContent).where(RunContent.run_id == run_id).values(text=text))
            _keep_timeline(session, run_id, timeline)

    def finish_run(self, run_id: str, outcome: RunOutcome, timeline: Timeline | None = None) -> None:
        """Write how a run ended.

        Raises:
            RunNotFoundError: it was deleted meanwhile.
        """
        result = ending(run_id, outcome, timeline, self._beginnings.get(run_id))
        with self._database.write_result() as session:
            write_ending(session, result.fields, again=True)
        self._beginnings.pop(run_id, None)

    def finish_later(self, run_id: str, outcome: RunOutcome, timeline: Timeline | None, why: str) -> None:
        """Let the end of a run wait that cannot be written now. Until it is, the run is shown as it ended.

        Args:
            run_id: the run.
            outcome: how it ended.
            timeline: its tokens.
            why: what kept it from being written, for the user.
        """
        self._outbox.add(ending(run_id, outcome, timeline, self._beginnings.pop(run_id, None)), why)

    def keep_losslessness(self, run_id: str, losslessness: Losslessness) -> None:
        """Keep what reading a run's answer again showed; an earlier result gives way.

        Raises:
            RunNotFoundError: there is no such run.
        """
        self._outbox.keep(losslessness_of(run_id, losslessness))

    # --- what people say about runs ---------------------------------------------------------------

    def set_tags(self, run_id: str, tags: Collection[str]) -> None:
        """Replace a run's tags. Blank ones and repeats are dropped.

        Raises:
            RunNotFoundError: there is no such run.
            StoreError: a tag is longer than 60 characters.
        """
        names = {tag.strip() for tag in tags} - {""}
        if any(len(name) > TAG_CHARACTERS for name in names):
            raise StoreError(f"A tag has at most {TAG_CHARACTERS} characters.")
        with self._database.write() as session:
            run = _existing(session, run_id)
            session.execute(delete(RunTag).where(RunTag.run_id == run.id))
            session.add_all(RunTag(run_id=run.id, tag=name) for name in sorted(names))

    def set_note(self, run_id: str, note: str) -> None:
        """Replace a run's note.

        Raises:
            RunNotFoundError: there is no such run.
        """
        with self._database.write() as session:
            _existing(session, run_id).note = note

    def rate(self, run_id: str, rating: Rating) -> None:
        """Thumbs up (1), down (-1) or neither (0).

        Raises:
            RunNotFoundError: there is no such run.
        """
        with self._database.write() as session:
            _existing(session, run_id).rating = rating

    def delete(self, run_ids: Collection[str]) -> int:
        """Delete runs with all that belongs to them, and return how many there were."""
        with self._database.write(first=True) as session:
            deleted = frozenset(
                run_id
                for some in _batches(run_ids)
                for run_id in session.scalars(delete(Run).where(Run.id.in_(some)).returning(Run.id))
            )
            if deleted:
                session.execute(insert(DeletedRun), [{"id": run_id} for run_id in deleted])
        self._outbox.discard(ENDING, deleted)
        return len(deleted)

    # ----------------------------------------------------------------------------------------------

    def _mark_interrupted(self) -> None:
        """Mark the runs of dead processes. Writes only where there are any."""
        moment = now()
        folder = self._database.file and self._database.file.parent
        row = Run
        with self._database.read() as session:
            running = session.execute(
                select(row.id, row.owner_host, row.owner_pid, row.owner_started, row.owner_lock, row.seen_at).where(
                    row.status == RunStatus.RUNNING
                )
            ).all()
        gone = [
            run_id
            for run_id, host, pid, started, lock, seen_at in running
            if Owner(host, pid, started, lock).is_gone(folder, seen_at=seen_at, now=moment)
        ]
        if gone:
            with self._database.write() as session:
                for some in _batches(gone):
                    still = (Run.id.in_(some), Run.status == RunStatus.RUNNING)
                    session.execute(update(Run).where(*still).values(status=RunStatus.INTERRUPTED))


def _existing(session: Session, run_id: str) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise RunNotFoundError(run_id)
    return run


def _keep_timeline(session: Session, run_id: str, timeline: Timeline | None) -> None:
    if timeline is not None:
        session.merge(RunTimeline(run_id=run_id, payload=timeline.pack()))


def _batches(run_ids: Collection[str]) -> list[list[str]]:
    ids = list(run_ids)
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]
