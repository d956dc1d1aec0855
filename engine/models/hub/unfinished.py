"""What is to be fetched from the hub, written down beside what is here of it, so that it can be gone on with."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import InstallError
from engine.models.hub.records import REPOSITORY, HubFile, files_of
from engine.untrusted import read_json_file

ASIDE = ".hub"
"""Where downloads lie, in the models folder."""
_PLAN_FILE = "download.plan"
_LARGEST_PLAN = 2**22


@dataclass(frozen=True, slots=True)
class Plan:
    """One download."""

    repository: str
    revision: str
    """The commit that all files are of."""
    licence: str | None
    name: str
    """What the model will be called."""
    files: tuple[HubFile, ...]
    converted_bytes: int = 0
    """What is written beside them, at most."""

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file, which is converted once it is here."""
        return self.files[0].name.lower().endswith(".gguf")

    @property
    def title(self) -> str:
        """What is fetched, for the user."""
        return f"{self.repository}: {self.files[0].name}" if self.is_gguf else self.repository

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def key(self) -> str:
        """The same for the same files, whatever the model will be called."""
        names = "\n".join((self.repository, self.revision, *(file.name for file in self.files)))
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    @staticmethod
    def file_in(folder: Path) -> Path:
        """Where it is written down."""
        return folder / _PLAN_FILE

    def write(self, folder: Path) -> None:
        """Write it into the folder with what is here of it."""
        self.file_in(folder).write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, folder: Path) -> Plan | None:
        """The inverse of :meth:`write`; ``None`` where it cannot be read."""
        try:
            tree = read_json_file(cls.file_in(folder), _LARGEST_PLAN)
        except (OSError, ValueError):
            return None
        match tree:
            case {
                "repository": str(repository),
                "revision": str(revision),
                "licence": str() | None as licence,
                "name": str(name),
                "files": [_, *_] as listed,
                "converted_bytes": int(converted),
            } if REPOSITORY.fullmatch(repository):
                files = files_of({"siblings": [_as_listed(entry) for entry in listed]})
                whole = len(files) == len(listed)
                return cls(repository, revision, licence, name, files, converted) if whole else None
            case _:
                return None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A download that was paused, or has failed."""

    plan: Plan
    arrived_bytes: int
    """Here already."""


def unfinished_downloads(models_dir: Path) -> list[Unfinished]:
    """Those that can be gone on with, by what they fetch."""
    plans = (Plan.read(folder) for folder in (models_dir / ASIDE).glob("*/"))
    found = [Unfinished(plan, arrived_bytes(plan, models_dir)) for plan in plans if plan]
    return sorted(found, key=lambda each: each.plan.title)


def discard(plan: Plan, models_dir: Path) -> None:
    """Delete what is here of a download.

    Raises:
        InstallError: it goes on, in this process or another one.
    """
    try:
        with FileLock(lock_of(plan, models_dir), timeout=0):
            shutil.rmtree(folder_of(plan, models_dir), ignore_errors=True)
    except Timeout as error:
        raise InstallError(
            f"{plan.title} is being downloaded by another Gearbox on this models folder: pause it there first."
        ) from error


def folder_of(plan: Plan, models_dir: Path) -> Path:
    """Where a download lies until it is whole."""
    return models_dir / ASIDE / plan.key


def lock_of(plan: Plan, models_dir: Path) -> Path:
    """The file that whoever writes there has locked, known to all processes."""
    return folder_of(plan, models_dir).with_suffix(".lock")


def arrived_bytes(plan: Plan, models_dir: Path) -> int:
    """What is here of its files."""
    folder = folder_of(plan, models_dir)
    names = (name for file in plan.files for name in (file.file_name, f"{file.file_name}.part"))
    return sum(path.stat().st_size for name in names if (path := folder / name).is_file())


def _as_listed(entry: object) -> object:
    """A file as the hub lists it, of one that was written down."""
    match entry:
        case {"name": name, "bytes": size, "sha256": str(sha256)}:
            return {"rfilename": name, "size": size, "lfs": {"sha256": sha256}}
        case {"name": name, "bytes": size, "blob_id": blob}:
            return {"rfilename": name, "size": size, "blobId": blob or ""}
        case _:
            return None
