"""Files that a process holds for as long as it lives: the operating system lets go of them when it dies."""

from __future__ import annotations

import fcntl
import os
import stat
from enum import Enum, auto
from pathlib import Path
from typing import Self

from app.store.database.identity import new_id

_TRIES = 20


class Hold(Enum):
    """Whether somebody holds a file."""

    HELD = auto()
    FREE = auto()
    """Whoever held it is dead, or has let go."""
    MISSING = auto()


class HeldFile:
    """An open file under an exclusive lock (``flock``), which also tells two holders in one process apart.

    The lock is seen by every process of this machine that has the file in sight, in other containers too; on a
    network file system shared by several machines it is not to be relied on.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def create(cls, folder: Path, prefix: str, suffix: str = "") -> Self:
        """Make a new file and hold it; only this user may read it.

        Raises:
            OSError: it cannot be made or locked.
        """
        for _ in range(_TRIES):
            path = folder / f"{prefix}{new_id()}{suffix}"
            held = cls(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            if held._lock() and held.in_place:
                return held
            held.let_go()  # somebody who tidies up was quicker
        raise OSError(f"no lock to be had in {folder}")

    @classmethod
    def seize(cls, path: Path) -> Self | Hold:
        """Hold a file that nobody holds any more; ``HELD`` or ``MISSING`` where that is not so.

        A link, and a file of another user, count as missing: a shared temporary folder may hold any.
        """
        try:
            held = cls(path, os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK))
        except OSError:
            return Hold.MISSING
        about = os.fstat(held.descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
            held.let_go()
            return Hold.MISSING
        if not held._lock():
            held.let_go()
            return Hold.HELD
        if not held.in_place:
            held.let_go()
            return Hold.MISSING
        return held

    @classmethod
    def look(cls, path: Path) -> Hold:
        """Whether somebody holds a file."""
        seized = cls.seize(path)
        if isinstance(seized, Hold):
            return seized
        seized.let_go()
        return Hold.FREE

    @property
    def in_place(self) -> bool:
        """Whether the file still stands at its path."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self.descriptor))
        except OSError:
            return False

    def read(self) -> bytes:
        """All of it.

        Raises:
            OSError: it cannot be read.
        """
        with os.fdopen(os.dup(self.descriptor), "rb") as file:
            file.seek(0)
            return file.read()

    def let_go(self) -> None:
        """Close it; it stays."""
        os.close(self.descriptor)

    def remove(self) -> None:
        """Delete it, and let go."""
        try:
            if self.in_place:
                self.path.unlink(missing_ok=True)
        finally:
            self.let_go()

    def _lock(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
