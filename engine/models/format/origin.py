"""Where a folder came from that was fetched from the model hub."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.untrusted import read_json_file, valid_text

ORIGIN_FILE = "hub.json"
_LARGEST = 2**16


@dataclass(frozen=True, slots=True)
class Origin:
    """What is remembered of it."""

    repository: str
    revision: str
    """The commit."""
    licence: str | None
    """As the hub names it."""

    def write(self, folder: Path) -> None:
        """Write it into the folder."""
        (folder / ORIGIN_FILE).write_text(json.dumps(asdict(self), indent=2), "utf-8")

    @classmethod
    def read(cls, folder: Path) -> Origin | None:
        """The inverse of :meth:`write`; ``None`` where there is none, or some other program's file of that name."""
        try:
            tree = read_json_file(folder / ORIGIN_FILE, _LARGEST)
        except (OSError, ValueError):
            return None
        match tree:
            case {"repository": str(repository), "revision": str(revision), "licence": str() | None as licence}:
                return cls(valid_text(repository), valid_text(revision), licence and valid_text(licence))
            case _:
                return None
