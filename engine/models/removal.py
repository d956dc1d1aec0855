"""Removes a model from the models folder, and says before what that frees."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.errors import GearboxError, InstallError, UnknownModelError
from engine.models.checkpoint import PACKED, known_models, resolve
from engine.models.format.manifest import MANIFEST_FILE, Manifest
from engine.models.kept import kept_file_of
from engine.models.sources.catalog import CATALOG


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What goes with a model. Bytes are those that the disk gets back: a file with another name elsewhere stays."""

    name: str
    folder: Path
    weights_bytes: int
    """Of the model's folder, without the published file."""
    source: Path | None
    """The published file that it was converted from, where that is here."""
    source_bytes: int
    packed: tuple[Path, ...]
    """Folders of what was packed of it for precisions, and is packed again when it is wanted."""
    packed_bytes: int
    comes_back: bool
    """Whether it is one of the catalogue, which can be installed again."""
    is_link: bool
    """Whether the folder is only a link to one elsewhere, which stays."""

    @property
    def freed_bytes(self) -> int:
        """All of it together."""
        return self.weights_bytes + self.source_bytes + self.packed_bytes


def removal_of(name: str, models_dir: Path) -> Removal:
    """What goes if a model is removed. No weights are read.

    Raises:
        UnknownModelError: there is no such model in the models folder.
    """
    folder = models_dir / name
    if name not in known_models(models_dir) or not (folder.is_dir() or _source(name, models_dir)):
        raise UnknownModelError(f"There is no model {name!r} in {models_dir} that could be removed.")
    source, packed = _source(name, models_dir), _packed(name, models_dir)
    return Removal(
        name=name,
        folder=folder,
        weights_bytes=0 if folder.is_symlink() else _bytes(file for file in _files(folder) if file != source),
        source=source,
        source_bytes=_bytes([source]) if source and not folder.is_symlink() else 0,
        packed=packed,
        packed_bytes=_bytes([file for each in packed for file in _files(each)]),
        comes_back=name in CATALOG,
        is_link=folder.is_symlink(),
    )


def remove(name: str, models_dir: Path) -> Removal:
    """Remove a model's folder, the published file and what was packed of it. What has been removed is said.

    No run in this process may use it (:meth:`~engine.Engine.unload`).

    Raises:
        UnknownModelError: there is no such model.
        InstallError: the system does not let it be removed.
    """
    removal = removal_of(name, models_dir)
    try:
        if removal.is_link:
            removal.folder.unlink()
        elif removal.folder.is_dir():
            aside = models_dir / f".{name}.removed"  # gone at once, whenever the process ends
            shutil.rmtree(aside, ignore_errors=True)
            removal.folder.rename(aside)
            shutil.rmtree(aside)
        if removal.source and not removal.is_link and removal.source.parent == models_dir:
            removal.source.unlink()
        for packed in removal.packed:
            shutil.rmtree(packed)
    except OSError as error:
        raise InstallError(f"{name} could not be removed: {error.strerror} ({error.filename}).") from error
    return removal


def _source(name: str, models_dir: Path) -> Path | None:
    """The published file: of a model of the catalogue it lies beside the folder, of one's own in it."""
    if name in CATALOG:
        beside = models_dir / CATALOG[name].file_name
        return beside if beside.is_file() else None
    try:
        inside = models_dir / name / Manifest.read(models_dir / name).source_file
    except (OSError, GearboxError):
        return None
    return inside if inside.is_file() else None


def _packed(name: str, models_dir: Path) -> tuple[Path, ...]:
    """By what is kept of the folder beside it; of a converted model also by its hash, which its manifest gives."""
    found = {kept.parent for kept in (models_dir / PACKED).glob(f"*/{kept_file_of(models_dir / name)}")}
    if (models_dir / name / MANIFEST_FILE).is_file():
        with suppress(GearboxError):
            found.add(resolve(name, models_dir).kept_in(models_dir / PACKED))
    return tuple(sorted(folder for folder in found if folder.is_dir()))


def _files(folder: Path) -> list[Path]:
    return [Path(root) / name for root, _, names in os.walk(folder) for name in names]


def _bytes(files: Iterator[Path] | list[Path]) -> int:
    """What the disk gets back if these files go: nothing of what has another name or is a link."""
    states = (file.lstat() for file in files)
    return sum(state.st_size for state in states if state.st_nlink == 1)
