"""Results written aside, as JSON Lines in files, while the database cannot take them.

Each process writes files of its own, which it holds while it lives. A file that nobody holds was left behind by a
process that died, and whoever finds it first takes its results in.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.store.database.held_file import HeldFile, Hold
from app.store.outbox.results import Result

_log = logging.getLogger(__name__)
_SUFFIX = ".jsonl"
TEMPORARY = (Path("/var/tmp"), Path(tempfile.gettempdir()))
"""The last resort; what is in the first survives a restart of the machine."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder for files of one database."""

    folder: Path
    prefix: str
    """What their names begin with."""


def places(database: str, file: Path | None, folders: Sequence[Path] = ()) -> tuple[Place, ...]:
    """Where results of a database may be written aside, the first choice first: beside its file, in ``folders``, in
    the system's folders for temporary files."""
    name = f"gearbox-{hashlib.sha256(database.encode()).hexdigest()[:16]}"
    beside = [Place(file.parent, file.name)] if file else []
    others = dict.fromkeys(folder for folder in (*folders, *TEMPORARY) if not file or folder != file.parent)
    return (*beside, *(Place(folder, name) for folder in others))


class Spool:
    """The files of one process. Not safe to share between threads: the outbox sees to that."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = tuple(places)
        self._files: dict[Place, HeldFile] = {}

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that hold something."""
        return tuple(held.path for held in self._files.values())

    def add(self, result: Result) -> bool:
        """Write a result aside, in the first place that takes it; says whether any did."""
        line = result.to_line()
        for place in self._places:
            try:
                self._append(place, line)
            except OSError as error:
                _log.warning("Nothing can be written aside in %s: %s", place.folder, error)
            else:
                return True
        return False

    def _append(self, place: Place, line: bytes) -> None:
        held = self._files.get(place)
        if held and not held.in_place:  # somebody deleted it: what it held is in memory still, but no longer here
            self._files.pop(place).let_go()
            held = None
        if held is None:
            held = HeldFile.create(place.folder, f"{place.prefix}.waiting-", _SUFFIX)
        try:
            _write(held.descriptor, line)
        except OSError:
            if place not in self._files:
                held.remove()
            raise
        self._files[place] = held

    @property
    def complete(self) -> bool:
        """Whether all of its files still stand where they were written."""
        return all(held.in_place for held in self._files.values())

    def clear(self) -> None:
        """Remove the files: what they held is stored."""
        for held in self._files.values():
            held.remove()
        self._files.clear()

    def let_go(self) -> None:
        """Leave the files, with what they hold, to others."""
        for held in self._files.values():
            held.let_go()
        self._files.clear()

    def left_behind(self) -> Iterator[HeldFile]:
        """The files of dead processes, each held for as long as it is looked at."""
        for place in self._places:
            for path in sorted(place.folder.glob(f"{place.prefix}.waiting-*{_SUFFIX}")):
                held = HeldFile.seize(path)
                if not isinstance(held, Hold):
                    yield held

    def refuse(self, line: bytes) -> Path | None:
        """Put what can never be stored where it is not tried again and not deleted; where. ``None`` if nowhere."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        for place in self._places:
            path = place.folder / f"{place.prefix}.refused{_SUFFIX}"
            try:
                descriptor = os.open(path, flags, 0o600)
                try:
                    if os.fstat(descriptor).st_uid != os.geteuid():
                        raise PermissionError(f"{path} belongs to somebody else")
                    _write(descriptor, line if line.endswith(b"\n") else line + b"\n")
                finally:
                    os.close(descriptor)
            except OSError as error:
                _log.warning("%s cannot be written: %s", path, error)
            else:
                return path
        return None


def _write(descriptor: int, line: bytes) -> None:
    """Append a whole line, down to the disk, or nothing.

    Raises:
        OSError: there is no room, or no right to.
    """
    whole = os.fstat(descriptor).st_size
    os.lseek(descriptor, 0, os.SEEK_END)
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, whole)
        raise
