"""Who is running a run, and whether that process still lives."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from app.store.database.held_file import HeldFile, Hold

_log = logging.getLogger(__name__)

_CLOCK_SLACK_S = 5.0
"""The start of a process is reckoned from the boot time, which moves a little when the clock is set."""
_SILENCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from an earlier one of the same number by when it started."""

    host: str
    pid: int
    started: float
    """Seconds since 1970."""
    lock: str | None = None
    """Name of the file beside the database that it holds while it lives; ``None`` where there is none."""

    @classmethod
    def this_process(cls) -> Owner:
        """The process that asks."""
        process = psutil.Process()
        return cls(host=socket.gethostname(), pid=process.pid, started=process.create_time())

    def is_gone(self, folder: Path | None, *, seen_at: datetime, now: datetime) -> bool:
        """Whether the process has ended. On another host, without a lock, whether it has been silent for long.

        Args:
            folder: where lock files are; ``None`` for a database that is no file.
            seen_at: when it last wrote.
            now: this moment.
        """
        if folder and self.lock:
            hold = HeldFile.look(folder / self.lock)
            if hold is not Hold.MISSING:
                return hold is Hold.FREE
        if self.host != socket.gethostname():
            return abs(now - seen_at) > _SILENCE  # ahead where its clock is, or ours was set back
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            return bool(abs(process.create_time() - self.started) > _CLOCK_SLACK_S)
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False


class Presence:
    """Shows every other server on a database file that this one lives, by a file that dies with it.

    A process that is stopped for a while holds its file, and so do processes in other containers.
    """

    def __init__(self, file: Path | None) -> None:
        """Beside a database file; without one there is nothing to hold."""
        self._file = file
        self._held: HeldFile | None = None
        self.owner = Owner.this_process()
        self.renew()

    def renew(self) -> None:
        """Hold a file, unless one is held that is still in its place."""
        if self._file is None or (self._held and self._held.in_place):
            return
        if self._held:
            self._put_back(self._held)
            return
        try:
            self._held = HeldFile.create(self._file.parent, f"{self._file.name}.server-")
        except OSError as error:
            _log.warning("Other servers cannot see whether this one lives: %s", error)
            return
        self.owner = replace(self.owner, lock=self._held.path.name)

    def _put_back(self, held: HeldFile) -> None:
        """Hold a file of the same name again, which the rows of this process's runs have."""
        try:
            held.path.touch(mode=0o600)
        except OSError as error:
            _log.warning("Other servers cannot see whether this one lives: %s", error)
            return
        again = HeldFile.seize(held.path)
        if not isinstance(again, Hold):
            held.let_go()
            self._held = again

    def close(self) -> None:
        """Let go."""
        if self._held:
            self._held.remove()
            self._held = None

    def tidy_up(self) -> None:
        """Remove the files of processes that are dead, once nothing asks for them any more."""
        if self._file is None:
            return
        for path in self._file.parent.glob(f"{self._file.name}.server-*"):
            seized = HeldFile.seize(path)
            if not isinstance(seized, Hold):
                seized.remove()
