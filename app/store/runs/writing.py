"""What is written of the runs: their life, what people say about them, their deletion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds
from app.store.database.errors import RunNotFoundError, RunOfAnotherError, StoreError
from app.store.database.identity import new_id, now
from app.store.database.owner import Owner
from app.store.database.session import Database
from app.store.outbox.outbox import Outbox
from app.store.people.visibility import visible
from app.store.runs.endings import (
    ENDING,
    beginning_of,
    ending,
    losslessness_of,
    write_beginning,
    write_ending,
    write_timeline,
)
from app.store.runs.reading import RunReader
from app.store.runs.records import EndedRun, Rating, RunOutcome, RunSource, RunStatus
from app.store.runs.rollups import adding
from app.store.runs.rollups.buckets import has_changed
from app.store.runs.rollups.making import sum_up
from app.store.runs.schema import DeletedRun, Run, RunContent, RunTag
from app.store.runs.throughput import Throughput
from app.store.runs.timeline import Timeline
from engine.types import GenerationRequest, Losslessness

TAG_CHARACTERS = 60
_IDS_AT_ONCE = 500


class RunWriter(RunReader):
    """The writing half of `RunStore`, on top of the reading one."""

    def __init__(self, database: Database, outbox: Outbox, owner: Owner) -> None:
        """Use a database whose schema is up to date, and the outbox before it; ``owner`` is this process."""
        super().__init__(database, outbox)
        self._owner = owner
        self._beginnings: dict[str, Mapping[str, Any]] = {}
        """Of the runs that are under way here, as they were made."""
        self.throughput = Throughput()
        """Of all runs that are written here now."""
        self.observers: list[Callable[[EndedRun], object]] = []
        """Told of each run that ends here, once, in the thread that stores it, whoever sees the store."""

    @property
    def host(self) -> str:
        """The machine that runs made here run on, as their rows have it."""
        return self._owner.host

    # --- a run's life -----------------------------------------------------------------------------

    def create_run(
        self,
        request: GenerationRequest,
        *,
        person_id: str | None,
        environment: Mapping[str, Any],
        group_id: str | None = None,
        source: RunSource | None = None,
        user: str | None = None,
        key_name: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Insert a run as running, and return its id: 32 hex digits that sort by time.

        Args:
            request: what is asked.
            person_id: who asks; ``None`` for the desk.
            environment: what is known of the machine before the run.
            group_id: shared by runs that belong together.
            source: where it is asked for; ``None`` where that is not to be told.
            user: for whom, in the words of the API's caller.
            key_name: what their key is called.
            metadata: what the API's caller noted on it, or which cell of an experiment it is.
        """
        config = request.config
        created_at = now()
        run_id = new_id()
        columns = {
            "id": run_id,
            "created_at": created_at,
            "status": RunStatus.RUNNING,
            "group_id": group_id,
            "person_id": person_id,
            "session_id": "",
            "source": source,
            "user": user,
            "key_name": key_name,
            "model": config.model,
            "backend": config.backend,
            "precision": config.precision,
            "config_hash": config.hash,
            "router_profile": config.optimization.cascade.profile_key if config.optimization.cascade else None,
            "seed": config.sampling.seed,
            "owner_host": self._owner.host,
            "owner_pid": self._owner.pid,
            "owner_started": self._owner.started,
            "owner_lock": self._owner.lock,
            "seen_at": created_at,
        }
        texts = {
            "prompt": request.prompt,
            "messages": [message.to_dict() for message in request.messages],
            "caller_metadata": dict(metadata) if metadata else None,
            "config": config.to_dict(),
            "environment": dict(environment),
        }
        with self._database.write() as session:
            write_beginning(session, columns, texts)
            has_changed(session, [created_at])
        self._beginnings[run_id] = beginning_of(columns, texts)
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
        self._has_ended(run_id, outcome, timeline)

    def finish_later(self, run_id: str, outcome: RunOutcome, timeline: Timeline | None, why: str) -> None:
        """Let the end of a run wait that cannot be written now. Until it is, the run is shown as it ended.

        Args:
            run_id: the run.
            outcome: how it ended.
            timeline: its tokens.
            why: what kept it from being written, for the user.
        """
        self._outbox.add(ending(run_id, outcome, timeline, self._beginnings.get(run_id)), why)
        self._has_ended(run_id, outcome, timeline)

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
            RunOfAnotherError: the viewer may not see it, and so not change it.
            StoreError: a tag is longer than 60 characters.
        """
        names = {tag.strip() for tag in tags} - {""}
        if any(len(name) > TAG_CHARACTERS for name in names):
            raise StoreError(f"A tag has at most {TAG_CHARACTERS} characters.")
        with self._database.write() as session:
            run = self._existing(session, run_id)
            session.execute(delete(RunTag).where(RunTag.run_id == run.id))
            session.add_all(RunTag(run_id=run.id, tag=name) for name in sorted(names))

    def set_note(self, run_id: str, note: str) -> None:
        """Replace a run's note.

        Raises:
            RunNotFoundError: there is no such run.
            RunOfAnotherError: the viewer may not see it, and so not change it.
        """
        with self._database.write() as session:
            self._existing(session, run_id).note = note

    def rate(self, run_id: str, rating: Rating) -> None:
        """Thumbs up (1), down (-1) or neither (0).

        Raises:
            RunNotFoundError: there is no such run.
            RunOfAnotherError: the viewer may not see it, and so not change it.
        """
        with self._database.write() as session:
            self._existing(session, run_id).rating = rating

    def delete(self, run_ids: Collection[str]) -> int:
        """Delete runs with all that belongs to them, and return how many there were that the viewer may see."""
        seen = visible(Run.person_id, self._viewer)
        with self._database.write(first=True) as session:
            deleted = {
                run_id: created_at
                for some in _batches(run_ids)
                for run_id, created_at in session.execute(
                    delete(Run).where(Run.id.in_(some), *seen).returning(Run.id, Run.created_at)
                )
            }
            if deleted:
                session.execute(insert(DeletedRun), [{"id": run_id} for run_id in deleted])
                has_changed(session, deleted.values())
        self._outbox.discard(ENDING, frozenset(deleted))
        return len(deleted)

    def sum_up(self, *, most: int) -> bool:
        """Sum up the runs of at most so many quarters of an hour that are over, for figures over many runs; says
        whether there are more."""
        return sum_up(self._database, most=most)

    # ----------------------------------------------------------------------------------------------

    def _has_ended(self, run_id: str, outcome: RunOutcome, timeline: Timeline | None) -> None:
        begun = self._beginnings.pop(run_id, None)
        if begun is None:  # made by another process, or ended before
            return
        source, asked = begun.get("source"), begun["content"]
        run = EndedRun(
            id=run_id,
            created_at=from_microseconds(begun["created_at"]),
            config_hash=begun["config_hash"],
            config=asked["config"],
            messages=asked["messages"],
            prompt=asked["prompt"],
            model=begun["model"],
            precision=begun["precision"],
            source=source and RunSource(source),
            outcome=outcome,
            timeline=timeline,
        )
        for observer in self.observers:
            observer(run)

    def _existing(self, session: Session, run_id: str) -> Run:
        run = session.get(Run, run_id)
        if run is None:
            raise RunNotFoundError(run_id)
        if self._viewer and not self._viewer.may_see(run.person_id):
            raise RunOfAnotherError(run_id)
        return run

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
                    interrupted = update(Run).where(*still).values(status=RunStatus.INTERRUPTED)
                    ended = session.execute(interrupted.returning(Run.id, Run.created_at))
                    moments = {row.id: row.created_at for row in ended}
                    if has_changed(session, moments.values()):
                        adding.add(session, moments)


def _keep_timeline(session: Session, run_id: str, timeline: Timeline | None) -> None:
    if timeline is not None:
        write_timeline(session, run_id, timeline.pack())


def _batches(run_ids: Collection[str]) -> list[list[str]]:
    ids = list(run_ids)
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]
