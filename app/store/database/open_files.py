"""Which files an open SQLite database is made of, so that one that was deleted or replaced is noticed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

Identity = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """The files at a database's path; ``None`` for one that is not there."""

    main: Identity | None
    log: Identity | None
    """The write-ahead log, ``-wal``."""
    index: Identity | None
    """Its index in memory, ``-shm``."""

    @classmethod
    def at(cls, file: Path) -> OpenFiles:
        """What stands there now, links followed."""
        return cls(*(_identity(path) for path in (file, *companions(file))))


def companions(file: Path) -> tuple[Path, Path]:
    """The paths of the write-ahead log and of its index."""
    real = os.path.realpath(file)  # SQLite puts them beside the file itself
    return Path(f"{real}-wal"), Path(f"{real}-shm")


def _identity(path: Path) -> Identity | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino
