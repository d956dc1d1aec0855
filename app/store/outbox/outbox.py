"""Results that wait to be written: kept in memory and aside in a file, in order, until the database takes them."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from app.store.database.errors import ConflictError, GoneError, StoreError
from app.store.database.held_file import HeldFile
from app.store.database.session import Database
from app.store.outbox.results import Result, Writer
from app.store.outbox.spool import Spool

_log = logging.getLogger(__name__)
_NEVER = (
    ConflictError,
    SQLAlchemyError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    zlib.error,
)
"""What a result raises that can never be stored. The database's own troubles arrive as `StoreError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What has not reached the database yet."""

    results: int
    why: str
    """Why they could not be written, for the user."""
    aside: tuple[Path, ...]
    """The files that hold them meanwhile."""
    in_memory_only: int
    """How many could be written nowhere: they would be lost with this process."""


class Outbox:
    """Takes every result, and hands it to the database at once or when that is possible. Safe to share between
    threads; nobody who looks at it waits for the database."""

    def __init__(self, database: Database, writers: Mapping[str, Writer], spool: Spool) -> None:
        self._database = database
        self._writers = writers
        self._spool = spool
        self._queue: dict[tuple[str, str], Result] = {}
        """In the order they came; of one thing, the newest."""
        self._unspooled: set[tuple[str, str]] = set()
        self._why = ""
        self._refused: tuple[int, Path] | None = None
        self.left_behind: tuple[Path, str] | None = None
        """A dead process's file that could not be taken in yet, and why, for the user."""
        self._state = threading.Lock()
        self._delivering = threading.RLock()
        self.came = threading.Event()
        """Set where a result begins to wait."""

    # --- taking in --------------------------------------------------------------------------------

    def keep(self, result: Result) -> bool:
        """Store a result, or let it wait; says whether it is stored.

        Raises:
            GoneError: what it belongs to was deleted. It is dropped.
            ConflictError: it can never be stored. It lies in a file of its own, which the message names.
        """
        with self._delivering:
            try:
                self.deliver()
                self._write(result)
            except (GoneError, ConflictError):
                raise
            except StoreError as error:
                self.add(result, str(error))
                return False
        return True

    def add(self, result: Result, why: str) -> None:
        """Let a result wait that could not be stored; it is safe in a file when this returns, if any takes it."""
        key = (result.kind, result.id)
        result = Result.from_line(result.to_line())  # as the file gives it back
        with self._state:
            self._queue.pop(key, None)
            self._queue[key] = result
            self._why = why
            self._set_aside(key)
        _log.warning("A result waits to be written (%s %s): %s", result.kind, result.id, why)
        self.came.set()

    def deliver(self) -> None:
        """Store what waits, oldest first.

        Raises:
            StoreError: the database cannot take it now; the rest waits on.
        """
        if not self._queue:
            return
        with self._delivering:
            self._set_aside_what_is_not()
            while waiting := self._first():
                try:
                    self._write(waiting, durable=True)
                except (GoneError, ConflictError) as error:
                    _log.warning("A result that waited is not stored: %s", error)
                except StoreError as error:
                    self._why = str(error)
                    raise
                self._drop(waiting)

    def take_in(self) -> int:
        """Store what dead processes wrote aside, and remove their files; how many results were read.

        A damaged line is kept in a file of its own.

        Raises:
            StoreError: the database cannot take it now; what is left stays where it is.
        """
        taken = 0
        with self._delivering:
            for held in self._spool.left_behind():
                try:
                    taken += self._take_in(held)
                except OSError as error:
                    held.let_go()
                    self.left_behind = held.path, f"{error}."
                except StoreError as error:
                    held.let_go()
                    self.left_behind = held.path, str(error)
                    raise
                else:
                    held.remove()
                    self.left_behind = None
        return taken

    def discard(self, kind: str, ids: frozenset[str]) -> None:
        """Forget results that somebody deleted."""
        with self._state:
            for key in [key for key in self._queue if key[0] == kind and key[1] in ids]:
                self._forget(key)

    def let_go(self) -> None:
        """Leave what waits to whoever opens the database next."""
        with self._state:
            self._spool.let_go()

    # --- looking ----------------------------------------------------------------------------------

    @property
    def waiting(self) -> Waiting | None:
        """What waits; ``None`` if nothing does."""
        with self._state:
            if not self._queue:
                return None
            return Waiting(
                results=len(self._queue),
                why=self._why,
                aside=self._spool.files,
                in_memory_only=len(self._unspooled),
            )

    @property
    def refused(self) -> tuple[int, Path] | None:
        """How many results could not be stored at all since the start, and the file that has the last of them."""
        return self._refused

    def find(self, kind: str, id: str) -> Result | None:
        """A result that waits."""
        with self._state:
            return self._queue.get((kind, id))

    def of_kind(self, kind: str) -> tuple[Result, ...]:
        """What waits of a kind, oldest first."""
        with self._state:
            return tuple(result for (its, _), result in self._queue.items() if its == kind)

    # ----------------------------------------------------------------------------------------------

    def _write(self, result: Result, *, durable: bool = False) -> None:
        """Store one result.

        Raises:
            GoneError: what it belongs to was deleted.
            ConflictError: it can never be stored, and was put into a file of its own.
            StoreError: the database cannot take it now.
        """
        try:
            writer = self._writers[result.kind]
            with self._database.write_result(durable=durable) as session:
                writer(session, result.fields)
        except _NEVER as error:
            self._refuse(result.to_line(), f"{result.kind} {result.id}", error)

    def _refuse(self, line: bytes, what: str, why: Exception) -> None:
        where = self._spool.refuse(line)
        if where is None:
            raise StoreError(f"A result does not fit the run database ({why}), and no file takes it.") from why
        self._refused = ((self._refused[0] if self._refused else 0) + 1, where)
        _log.error("A result (%s) can never be stored and was put into %s: %r", what, where, why)
        raise ConflictError(f"A result does not fit the run database. It was put into {where}.") from why

    def _take_in(self, held: HeldFile) -> int:
        taken = 0
        for number, line in enumerate(held.read().split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                try:
                    result = Result.from_line(line)
                except ValueError as error:
                    self._refuse(line, f"line {number:,} of {held.path}", error)
                else:
                    self._write(result, durable=True)
                    taken += 1
            except (GoneError, ConflictError) as error:
                _log.warning("Line %d of %s is not stored: %s", number, held.path, error)
        if taken:
            _log.warning("%d results were taken in from %s.", taken, held.path)
        return taken

    def _first(self) -> Result | None:
        with self._state:
            return next(iter(self._queue.values()), None)

    def _drop(self, result: Result) -> None:
        key = (result.kind, result.id)
        with self._state:
            if self._queue.get(key) is result:  # not a newer one that came meanwhile
                self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        del self._queue[key]
        self._unspooled.discard(key)
        if not self._queue:
            self._spool.clear()

    def _set_aside(self, key: tuple[str, str]) -> None:
        if self._spool.add(self._queue[key]):
            self._unspooled.discard(key)
        else:
            self._unspooled.add(key)

    def _set_aside_what_is_not(self) -> None:
        """Try again to write aside what no file took, and what stood in a file that somebody deleted."""
        with self._state:
            for key in list(self._queue if not self._spool.complete else self._unspooled):
                self._set_aside(key)
