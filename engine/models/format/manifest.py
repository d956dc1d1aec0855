"""What an installed model consists of, written once when it is converted and checked ever after."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from engine.errors import WeightsIntegrityError
from engine.untrusted import parse_json

MANIFEST_FILE = "manifest.json"
_FORMAT = 1
_CHUNK_BYTES = 1 << 22

_hashes: dict[tuple[Path, int, int], str] = {}
"""sha256 of files already read by this process, by path, time of last change and size."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The record of one conversion."""

    source_file: str
    source_sha256: str
    encodings: dict[str, int]
    """Weights held in each of the source's encodings, most used first."""
    bits_per_weight: float
    """Mean bits a weight took in the source."""
    parameters: int
    files: dict[str, FileRecord]
    licence: str | None = None
    """As the source names it."""

    @property
    def provenance(self) -> str:
        """Where the 16-bit weights come from, in words."""
        named = [name for name, count in self.encodings.items() if count >= 0.01 * self.parameters]
        listed = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
        return f"dequantized from {listed}, {self.bits_per_weight:.1f} bits a weight"

    def _check_types(self) -> None:
        counts = [self.parameters, *self.encodings.values(), *(record.bytes for record in self.files.values())]
        texts = [self.source_file, self.source_sha256, *(record.sha256 for record in self.files.values())]
        if not all(type(count) is int and count >= 0 for count in counts):
            raise TypeError("a count in it is no whole number")
        texts += [] if self.licence is None else [self.licence]
        if any(Path(name).name != name for name in (self.source_file, *self.files)):
            raise ValueError("it names a file elsewhere")
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.bits_per_weight, int | float):
            raise TypeError("a value in it is of another type")

    def write(self, folder: Path) -> None:
        """Write it into ``folder``."""
        (folder / MANIFEST_FILE).write_text(json.dumps({"format": _FORMAT, **asdict(self)}, indent=2), "utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The inverse of :meth:`write`.

        Raises:
            FileNotFoundError: there is none.
            WeightsIntegrityError: it cannot be understood.
        """
        path = folder / MANIFEST_FILE
        text = path.read_bytes()
        try:
            tree = parse_json(text)
            if tree.pop("format") != _FORMAT:
                raise ValueError("written by another version")
            files = {name: FileRecord(**record) for name, record in tree.pop("files").items()}
            manifest = cls(files=files, **tree)
            manifest._check_types()
            return manifest
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsIntegrityError(f"{path} is damaged ({error}). Reinstall the model.") from error


def identity(hashes: Mapping[str, str]) -> str:
    """One sha256 for a model: of its weights and its configuration, whatever else lies beside them."""
    lines = [f"{name} {hashes[name]}" for name in sorted(hashes) if decides_output(name)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def decides_output(name: str) -> bool:
    """Whether a file of a checkpoint decides the logits."""
    return name == "config.json" or name.endswith(".safetensors")


def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """The file's sha256; ``on_bytes`` is called with the count of every chunk read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            if on_bytes:
                on_bytes(len(chunk))
    return digest.hexdigest()


def sha256_once(path: Path) -> str:
    """A file's sha256; one that has not changed is read once per process.

    Raises:
        WeightsIntegrityError: it cannot be read.
    """
    key = file_state(path)
    if key not in _hashes:
        try:
            _hashes[key] = sha256_of(path)
        except OSError as error:
            raise WeightsIntegrityError(f"{path} cannot be read: {error.strerror}.") from error
    return _hashes[key]


def file_state(path: Path) -> tuple[Path, int, int]:
    """What tells whether a file is still the one that was read: where it is, its last change, its size."""
    state = path.stat()
    return path.resolve(), state.st_mtime_ns, state.st_size


FolderState = tuple[tuple[str, int, int, int], ...]
"""Of each file of a folder its name, its inode, its last change, its size."""


def folder_state(folder: Path) -> FolderState:
    """What tells whether a folder still holds the files that were read; nothing of one that is not there."""
    try:
        with os.scandir(folder) as entries:
            states = [(entry.name, entry.stat()) for entry in entries]
    except OSError:  # what is wrong with it is told by who reads it
        return ()
    return tuple(sorted((name, state.st_ino, state.st_mtime_ns, state.st_size) for name, state in states))
