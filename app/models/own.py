"""GGUF files that somebody may add: what they are, what they would take, and those that other programs keep here."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from app.background.computed import Computed
from app.background.jobs import Jobs, JobState, Report, Work
from engine import (
    FoundModel,
    GgufSummary,
    WeightsEstimate,
    add_model,
    estimate_gguf,
    found_files,
    look_at_found,
    look_at_gguf,
    model_name_for,
)
from engine.errors import DeviceUnavailableError
from engine.types import DeviceChoice

_FOUND = "models found"
_UPLOADS = 4
"""Uploaded files that are kept besides those being added."""
_NOT_THERE = "not there"


@dataclass(frozen=True, slots=True)
class Looked:
    """A file that can be added."""

    summary: GgufSummary
    weights: Mapping[str, WeightsEstimate]
    """By precision; empty where no device to run on is there."""


class OwnModels:
    """Looks at files in the background, once for each state of them. Safe to use from any thread."""

    def __init__(self, jobs: Jobs, device: DeviceChoice = DeviceChoice.AUTO) -> None:
        self._jobs = jobs
        self._device = device
        self._looked: Computed[Looked] = Computed(jobs)
        self._found: Computed[list[FoundModel]] = Computed(jobs, most=1)
        self._added: dict[tuple[Path, str], Path] = {}
        """Models' folders by the file they are of and its state."""
        self._lock = threading.Lock()
        """Held while uploads are deleted."""
        self._uploads = TemporaryDirectory(prefix="gearbox-uploads-", ignore_cleanup_errors=True)

    def look(self, path: Path) -> Looked | JobState:
        """What a file is, or how far the looking is: its error says why it cannot be added."""

        def compute(_report: Report) -> Looked:
            summary = look_at_gguf(path)
            weights: Mapping[str, WeightsEstimate] = {}
            with suppress(DeviceUnavailableError):
                weights = dict(estimate_gguf(summary.path, self._device).items())
            return Looked(summary, weights)

        return self._looked.ask(f"look at {path} {_state(path)}", compute)

    def adding(self, path: Path, name: str, models_dir: Path) -> Work:
        """The work of adding a file under a name, for a job of the key that :func:`adding_key` gives. An uploaded file
        is deleted at its end."""

        def work(report: Report) -> None:
            state = _state(path)
            self._added[path, state] = folder = add_model(path, models_dir, report, name=name).folder
            if path.is_relative_to(self._uploads.name):
                self._added[path, _NOT_THERE] = folder
                with self._lock:
                    shutil.rmtree(path.parent, ignore_errors=True)

        return work

    def added(self, path: Path) -> str | None:
        """Under which name a file was added as it is now, as long as that model is there."""
        folder = self._added.get((path, _state(path)))
        return folder.name if folder is not None and (folder / "config.json").is_file() else None

    def found(self) -> list[FoundModel] | None:
        """What Ollama and LM Studio keep on this machine; ``None`` while it is looked for the first time."""
        found = self._found.ask(_FOUND, _find)
        if isinstance(found, JobState):
            return None if found.running else []
        return found

    def find_again(self) -> None:
        """Look for more of them."""
        self._found.start(_FOUND, _find)

    @property
    def finds(self) -> bool:
        """Whether it is looked for them now."""
        state = self._jobs.state(_FOUND)
        return state is not None and state.running

    def keep_upload(self, file_id: str, name: str, content: memoryview) -> Path:
        """Where an uploaded file is until it is added or the server ends; of those that are not being added, the latest
        few are kept. One that was added is not written again, as long as that model is there.

        Raises:
            OSError: the disk is full.
        """
        folder = Path(self._uploads.name) / model_name_for(Path(file_id))
        path = folder / f"{model_name_for(Path(name))}.gguf"
        if not path.exists() and self.added(path) is None:
            self._delete_old_uploads()
            folder.mkdir(exist_ok=True)
            part = folder / "part"
            part.write_bytes(content)
            part.rename(path)
        return path

    def _delete_old_uploads(self) -> None:
        """Make room for one more."""
        with self._lock:
            idle = [folder for folder in Path(self._uploads.name).iterdir() if not self._adds_from(folder)]
            idle.sort(key=lambda folder: folder.stat().st_mtime)
            for folder in idle[: max(0, len(idle) + 1 - _UPLOADS)]:
                shutil.rmtree(folder, ignore_errors=True)

    def _adds_from(self, folder: Path) -> bool:
        jobs = [self._jobs.state(adding_key(file)) for file in folder.glob("*.gguf")]
        return any(job is not None and job.running for job in jobs)


def adding_key(path: Path) -> str:
    """The key of the job that adds a file."""
    return f"add {path}"


def _state(path: Path) -> str:
    """Another one whenever a file was changed or replaced."""
    try:
        found = path.expanduser().stat()
    except (OSError, RuntimeError, ValueError):  # what is wrong with it is told by who reads it
        return _NOT_THERE
    return f"{found.st_mtime_ns} {found.st_size}"


def _find(report: Report) -> list[FoundModel]:
    files = found_files()
    looked = []
    for done, file in enumerate(files):
        report("Looking at the models found", done / len(files))
        looked.append(look_at_found(file))
    return looked
