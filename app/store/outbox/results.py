"""Results on their way into the database, in a form that a line of a file can hold as well."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy.orm import Session

from engine.untrusted import valid_tree


@dataclass(frozen=True, slots=True)
class Result:
    """Something that was worked out and is to be stored."""

    kind: str
    """Which :data:`Writer` stores it."""
    id: str
    """What it is about; in a kind, an id stands for one thing."""
    fields: Mapping[str, Any]
    """JSON values; bytes are written by :func:`to_text`."""

    def to_line(self) -> bytes:
        """One line of JSON, its end included."""
        tree = {"kind": self.kind, "id": self.id, "fields": valid_tree(dict(self.fields))}
        return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """The inverse of :meth:`to_line`. A number that is none, such as a score's NaN, stays what it is.

        Raises:
            ValueError: the line is damaged.
        """
        try:
            tree = json.loads(line)
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
        match tree:
            case {"kind": str(kind), "id": str(id), "fields": dict(fields)}:
                return cls(kind, id, fields)
        raise ValueError("it is no result")


Writer = Callable[[Session, Mapping[str, Any]], None]
"""Stores the fields of a result. Done twice, it leaves what doing it once leaves, and a newer result stays.

Raises `GoneError` where what the result belongs to was deleted.
"""


def to_text(payload: bytes) -> str:
    """Bytes as JSON can hold them."""
    return base64.b64encode(payload).decode("ascii")


def to_bytes(text: str) -> bytes:
    """The inverse of :func:`to_text`.

    Raises:
        ValueError: it is no such text.
    """
    return base64.b64decode(text, validate=True)
