"""What the hub says of models, as far as it could be read: it is data from strangers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from engine.models.format.manifest import MANIFEST_FILE
from engine.models.format.origin import ORIGIN_FILE
from engine.models.sources.hub_files import UNWANTED, WANTED
from engine.untrusted import valid_text

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}", re.ASCII)
"""``organisation/name``."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOB = re.compile(r"[0-9a-f]{40}")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.\w+$")
_LONGEST = 200
_MOST_FILES = 10_000


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository."""

    name: str
    """Its path there."""
    bytes: int
    sha256: str | None = None
    """Of a large file."""
    blob_id: str | None = None
    """Of a small one: git's hash, the sha1 of ``blob SIZE\\0`` and the content."""

    @property
    def file_name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.name).name


@dataclass(frozen=True, slots=True, kw_only=True)
class HubListing:
    """A model as a search finds it."""

    repository: str
    kind: str
    """How its weights are published: "safetensors", "safetensors, awq", "GGUF", or "other"."""
    family: str | None
    parameters: int | None
    licence: str | None
    downloads: int | None
    """Of the last 30 days."""
    gated: bool
    """Whether its files are given only to those who accepted its terms."""
    refused: str | None
    """Why it does not run here, as far as that can be told before a look at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """A model that was looked at."""

    repository: str
    revision: str
    """The commit that is meant by all that is said of it."""
    licence: str | None
    downloads: int | None
    gated: bool
    files: tuple[HubFile, ...]
    """What is fetched of its checkpoint; empty where that does not run here, or there is none."""
    ggufs: tuple[HubFile, ...]
    """GGUF files that hold a whole model."""
    refused: str | None
    """Why its checkpoint does not run here."""
    config: Mapping[str, Any] | None = field(default=None, hash=False)
    """Of its checkpoint."""
    needs: str | None = None
    """What has to be done before its files can be fetched."""

    @property
    def download_bytes(self) -> int:
        """Of the checkpoint."""
        return sum(file.bytes for file in self.files)


def files_of(answer: Mapping[str, Any]) -> tuple[HubFile, ...]:
    """The files that an answer lists, those with impossible names or sizes left out."""
    return tuple(file for file in _files(answer))


def names_of(answer: Mapping[str, Any]) -> list[str]:
    """Names of the files that an answer lists."""
    listed = answer.get("siblings")
    entries = listed[:_MOST_FILES] if isinstance(listed, list) else []
    names = [entry.get("rfilename") for entry in entries if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str) and _is_path(name)]


def wanted(files: tuple[HubFile, ...]) -> tuple[HubFile, ...]:
    """What is to be fetched of a checkpoint, the smallest first: shards only where the weights are not there in one
    piece."""
    found = [
        file
        for file in files
        # what we write down ourselves is nobody else's to say
        if file.name not in (MANIFEST_FILE, ORIGIN_FILE)
        and any(fnmatch(file.name, each) for each in WANTED)
        and not any(fnmatch(file.name, each) for each in UNWANTED)
    ]
    if any(file.name == "model.safetensors" for file in found):
        found = [file for file in found if not _SHARD.search(file.name) and file.name != "model.safetensors.index.json"]
    return tuple(sorted(found, key=lambda file: (file.bytes, file.name)))


def is_whole_gguf(name: str) -> bool:
    """Whether a file may be a model by itself: neither a part of one nor what sees or adapts for one."""
    path = PurePosixPath(name.lower())
    return path.suffix == ".gguf" and not _SHARD.search(name) and not path.name.startswith(("mmproj", "imatrix"))


def text_in(answer: Any, key: str) -> str | None:
    """A short text of an answer."""
    value = answer.get(key) if isinstance(answer, Mapping) else None
    return valid_text(value)[:_LONGEST] if isinstance(value, str) and value else None


def count_in(answer: Any, key: str) -> int | None:
    """A count of an answer."""
    value = answer.get(key) if isinstance(answer, Mapping) else None
    return value if type(value) is int and 0 <= value < 2**60 else None


def licence_in(answer: Mapping[str, Any]) -> str | None:
    """The licence, by the card or by the tags that are made of it."""
    card = answer.get("cardData")
    named = text_in(card, "license_name") or text_in(card, "license")
    tags = answer.get("tags")
    tagged = (tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()
    found = named or next((tag.removeprefix("license:") for tag in tagged if tag.startswith("license:")), None)
    return valid_text(found)[:_LONGEST] if found else None


def _files(answer: Mapping[str, Any]) -> Iterator[HubFile]:
    listed = answer.get("siblings")
    for entry in listed[:_MOST_FILES] if isinstance(listed, list) else ():
        match entry:
            case {"rfilename": str(name), "size": int(size), "lfs": {"sha256": str(sha256)}}:
                known = HubFile(name, size, sha256=sha256 if _SHA256.fullmatch(sha256) else None)
            case {"rfilename": str(name), "size": int(size)}:
                blob = str(entry.get("blobId"))
                known = HubFile(name, size, blob_id=blob if _BLOB.fullmatch(blob) else None)
            case _:
                continue
        if _is_path(name) and 0 <= size < 2**50 and type(size) is int:
            yield known


def _is_path(name: str) -> bool:
    """Whether a file can be called so, here and in a message."""
    parts = name.split("/")
    return (
        len(name) <= 255
        and valid_text(name) == name
        and name.isprintable()
        and "\\" not in name
        and ":" not in name
        and all(part and part not in (".", "..") for part in parts)
    )
