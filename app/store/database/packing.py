"""JSON trees as a column of bytes holds them."""

from __future__ import annotations

import json
import zlib
from typing import Any


def pack(tree: Any) -> bytes:
    """A JSON tree, deflated."""
    return zlib.compress(json.dumps(tree, separators=(",", ":")).encode())


def unpack(payload: bytes) -> Any:
    """The inverse of :func:`pack`."""
    return json.loads(zlib.decompress(payload))
