"""GGUF files that somebody may add: what they are, what they would take, and those that other programs keep here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from app.computed import Computed
from app.jobs import Jobs, JobState, Report, Work
from engine import (
    FoundModel,
    GgufSummary,
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
"""Uploaded files that are kept until they are added."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A file that can be added."""

    summary: GgufSummary
    weights_bytes: Mapping[str, int]
    """In memory, by precision; empty where no device to run on is there."""


class OwnModels:
    """Looks at files in the background, once for each state of them. Safe to use from any thread."""

    def __init__(self, jobs: Jobs, device: DeviceChoice = DeviceChoice.AUTO) -> None:
        self._jobs = jobs
        self._device = device
        self._looked: Computed[Looked] = Computed(jobs)
        self._found: Computed[list[FoundModel]] = Computed(jobs, most=1)
        self._added: dict[Path, Path] = {}
        self._uploads = TemporaryDirectory(prefix="gearbox-uploads-", ignore_cleanup_errors=True)

    def look(self, path: Path) -> Looked | JobState:
        """What a file is, or how far the looking is: its error says why it cannot be added."""

        def compute(_report: Report) -> Looked:
            summary = look_at_gguf(path)
            weights: Mapping[str, int] = {}
            with suppress(DeviceUnavailableError):
                weights = dict(estimate_gguf(summary.path, self._device).items())
            return Looked(summary, weights)

        try:
            found = path.expanduser().stat()
            state = f"{found.st_mtime_ns} {found.st_size}"
        except (OSError, RuntimeError, ValueError):  # what is wrong with it is told by who reads it
            state = "not there"
        return self._looked.ask(f"look at {path} {state}", compute)

    def adding(self, path: Path, name: str, models_dir: Path) -> Work:
        """The work of adding a file under a name."""

        def work(report: Report) -> None:
            self._added[path] = add_model(path, models_dir, report, name=name).folder

        return work

    def added(self, path: Path) -> str | None:
        """Under which name a file was added, as long as that model is there."""
        folder = self._added.get(path)
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
        """Where an uploaded file is until it is added or the server ends; the latest few are kept.

        Raises:
            OSError: the disk is full.
        """
        folder = Path(self._uploads.name) / model_name_for(Path(file_id))
        path = folder / f"{model_name_for(Path(name))}.gguf"
        if not path.exists():
            others = sorted(folder.parent.iterdir(), key=lambda other: other.stat().st_mtime)
            for other in others[: max(0, len(others) + 1 - _UPLOADS)]:
                shutil.rmtree(other, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            part = folder / "part"
            part.write_bytes(content)
            part.rename(path)
        return path


def _find(report: Report) -> list[FoundModel]:
    files = found_files()
    looked = []
    for done, file in enumerate(files):
        report("Looking at the models found", done / len(files))
        looked.append(look_at_found(file))
    return looked
