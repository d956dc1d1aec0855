"""GGUF files that other programs keep on this machine: Ollama's and LM Studio's. Only heads are read, never weights.

Ollama names layers of a model by their hashes in a manifest (``manifests/HOST/NAMESPACE/MODEL/TAG``), and keeps them
under ``blobs``: https://github.com/ollama/ollama. LM Studio keeps ``PUBLISHER/MODEL/FILE.gguf``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import GearboxError
from engine.models.format.manifest import file_state
from engine.models.own.add import name_for
from engine.models.own.summary import GgufSummary, look_at
from engine.untrusted import read_json_file, valid_text

MOST_FOUND = 200
"""Models of one program that are listed."""

_MOST_FILES = 20_000
"""Files of a folder that are looked through."""
_DEPTH = 4
_LARGEST_MANIFEST = 2**20
_MODEL_LAYER = "application/vnd.ollama.image.model"
_ADAPTER_LAYER = "application/vnd.ollama.image.adapter"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$")

_summaries: dict[tuple[Path, int, int], GgufSummary | str] = {}
"""What files' heads said, by path, last change and size: reading one takes tenths of a second."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A GGUF file that another program keeps."""

    program: str
    title: str
    """As that program calls the model."""
    path: Path
    bytes: int
    refused: str | None = None
    """Why it cannot be added, where that is known without reading its head."""

    @property
    def name(self) -> str:
        """What it is called here unless named otherwise."""
        return name_for(Path(self.title.rpartition("/")[2].replace(":", "-")))


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A file that was found, and what its head says."""

    file: FoundFile
    summary: GgufSummary | None
    """``None`` where it cannot be added."""
    problem: str | None = None
    """Why it cannot be added."""


def found_files(environment: Mapping[str, str] = os.environ) -> list[FoundFile]:
    """All GGUF files in the folders of Ollama and LM Studio. Reads names and sizes, and Ollama's manifests.

    Args:
        environment: ``OLLAMA_MODELS`` names Ollama's folder, if it is not in the home folder.
    """
    home = Path("~").expanduser()
    ollama = Path(environment.get("OLLAMA_MODELS") or home / ".ollama" / "models")
    studio = (home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models")
    found = _first(_in_ollama(ollama))
    for folder in studio:
        found += _first(_in_lm_studio(folder))
    return found


def look_at_found(file: FoundFile) -> FoundModel:
    """What a file's head says; read once for each state of the file."""
    if file.refused:
        return FoundModel(file, None, file.refused)
    try:
        state = file_state(file.path)
        if state not in _summaries:
            _summaries[state] = _summary(file.path)
    except OSError as error:
        return FoundModel(file, None, f"It cannot be read: {error.strerror}.")
    known = _summaries[state]
    return FoundModel(file, None, known) if isinstance(known, str) else FoundModel(file, known)


def _summary(path: Path) -> GgufSummary | str:
    try:
        return look_at(path)
    except GearboxError as error:
        return str(error)


def _first(files: Iterator[FoundFile]) -> list[FoundFile]:
    found = []
    for file in files:
        found.append(file)
        if len(found) == MOST_FOUND:
            break
    return sorted(found, key=lambda file: file.title.lower())


def _in_ollama(folder: Path) -> Iterator[FoundFile]:
    manifests = folder / "manifests"
    for path in _files(manifests):
        parts = path.relative_to(manifests).parts
        if len(parts) < 2:
            continue
        place, tag = "/".join(parts[:-1]), parts[-1]
        title = valid_text(f"{place.removeprefix('registry.ollama.ai/').removeprefix('library/')}:{tag}")
        try:
            tree = read_json_file(path, _LARGEST_MANIFEST)
        except (ValueError, OSError):
            continue
        layers = tree.get("layers") if isinstance(tree, dict) else None
        layers = [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []
        adapted = any(layer.get("mediaType") == _ADAPTER_LAYER for layer in layers)
        for layer in layers:
            digest = _DIGEST.fullmatch(str(layer.get("digest")))
            if layer.get("mediaType") == _MODEL_LAYER and digest:
                blob = folder / "blobs" / f"sha256-{digest[1]}"
                if (size := _size(blob)) is not None:
                    refused = "It has an adapter beside its weights, which is not applied here." if adapted else None
                    yield FoundFile("Ollama", title, blob, size, refused)
                    break


def _in_lm_studio(folder: Path) -> Iterator[FoundFile]:
    for path in _files(folder):
        if path.suffix.lower() != ".gguf" or path.name.lower().startswith("mmproj"):  # a vision part is no model
            continue
        if (size := _size(path)) is not None:
            refused = "It is one of several files of a model, which are not joined here." if _is_shard(path) else None
            yield FoundFile("LM Studio", valid_text("/".join(path.relative_to(folder).parts)), path, size, refused)


def _is_shard(path: Path) -> bool:
    return _SHARD.search(path.name) is not None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _files(folder: Path) -> Iterator[Path]:
    """Files in a folder and the folders in it, links to folders left out; so many and so deep at most."""
    looked_at = 0
    for root, folders, names in os.walk(folder):
        if len(Path(root).relative_to(folder).parts) >= _DEPTH:
            folders.clear()
        folders.sort()
        for name in sorted(names):
            looked_at += 1
            if looked_at > _MOST_FILES:
                return
            yield Path(root) / name
