"""The name of what is kept of a model's small files; nothing heavy is imported for it."""

from __future__ import annotations

import hashlib
from pathlib import Path

KEPT_FILE = "read-by-transformers-"
"""Begins the file's name. Folders of the same weights have files of their own: what else lies in them may differ."""


def path_bytes(paths: str) -> bytes:
    """A path as the system has it, whatever it is encoded in."""
    return paths.encode("utf-8", "surrogateescape")


def kept_file_of(folder: Path) -> str:
    """The name of the file that is kept of a model's folder; it stands beside all that is packed of its weights."""
    return f"{KEPT_FILE}{hashlib.sha256(path_bytes(str(folder))).hexdigest()[:16]}"
