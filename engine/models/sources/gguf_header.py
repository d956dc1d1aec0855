"""The head of a GGUF file: its metadata and its table of tensors, read within bounds.

A file comes from a stranger: counts, lengths, types and places are checked before anything is reserved for them or
read. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from engine.errors import UnsupportedModelError, WeightsIntegrityError

LARGEST_HEAD = 64 * 2**20
"""Bytes of metadata and table together; a vocabulary of 256k tokens takes about 15 MiB."""
MOST_TENSORS = 2**16
MOST_ENTRIES = 2**14
"""Keys of the metadata."""
MOST_VALUES = 2**21
"""Elements of all arrays of the metadata together."""
_MOST_DIMENSIONS = 4
_MOST_ELEMENTS = 2**44
_LARGEST_ALIGNMENT = 2**20
_DEFAULT_ALIGNMENT = 32
_WINDOW_BYTES = 2**20
"""Read at a time."""

_SCALARS = {
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor as the table describes it, its place checked."""

    name: str
    shape: tuple[int, ...]
    """Rows first, as torch and numpy write it (the file has it the other way round)."""
    encoding: GGMLQuantizationType
    begin: int
    """Its first byte in the file."""
    bytes: int


def read_head(path: Path) -> tuple[dict[str, Any], tuple[TensorEntry, ...]]:
    """The metadata and the table of tensors. No weight is read, and at most 64 MiB of the file.

    Raises:
        UnsupportedModelError: it is not a GGUF file of version 2 or 3, or holds what is not known here.
        WeightsIntegrityError: it is cut short, or what it says cannot be.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        return _Head(path.name, file, size).read()


class _Head:
    """Walks the head of one file."""

    def __init__(self, name: str, file: BinaryIO, size: int) -> None:
        self._name = name
        self._file = file
        self._size = size
        self._window = b""
        self._at = 0
        """Where the walk is in the window."""
        self._passed = 0
        """Bytes of the file before the window."""
        self._values = 0

    def read(self) -> tuple[dict[str, Any], tuple[TensorEntry, ...]]:
        if self._size < 4 or self._take(4) != b"GGUF":
            raise UnsupportedModelError(f"{self._name} is not a GGUF file.")
        version = self._scalar("I")
        if version not in (2, 3):
            big_endian = version >> 16 in (0x0200, 0x0300)
            told = "written for big-endian machines" if big_endian else f"of version {version:,}"
            raise UnsupportedModelError(f"{self._name} is a GGUF file {told}, and versions 2 and 3 are read here.")
        tensor_count, entry_count = self._scalar("Q"), self._scalar("Q")
        self._bound("tensors", tensor_count, MOST_TENSORS)
        self._bound("keys of metadata", entry_count, MOST_ENTRIES)
        metadata: dict[str, Any] = {}
        for _ in range(entry_count):
            key = self._string("a key")
            if key in metadata:
                raise self._damaged(f"its metadata holds {key!r:.80} twice")
            metadata[key] = self._value(key)
        rows = [self._row() for _ in range(tensor_count)]
        return metadata, self._table(metadata, rows)

    def _row(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string("a tensor's name")
        dimensions = self._scalar("I")
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise self._damaged(f"{name!r:.80} has {dimensions:,} dimensions")
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))
        return name, shape[::-1], self._scalar("I"), self._scalar("Q")

    def _table(
        self, metadata: dict[str, Any], rows: list[tuple[str, tuple[int, ...], int, int]]
    ) -> tuple[TensorEntry, ...]:
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if type(alignment) is not int or not 8 <= alignment <= _LARGEST_ALIGNMENT or alignment & (alignment - 1):
            raise self._damaged(f"general.alignment is {alignment!r:.80}, and must be a power of two")
        start = -(-(self._passed + self._at) // alignment) * alignment
        table = tuple(self._entry(start, alignment, *row) for row in rows)
        names: set[str] = set()
        for entry in table:
            if entry.name in names:
                raise self._damaged(f"it holds {entry.name!r:.80} twice")
            names.add(entry.name)
        end, before = start, ""
        for entry in sorted(table, key=lambda entry: entry.begin):
            if entry.begin < end:
                raise self._damaged(f"{entry.name!r:.80} lies over {before!r:.80}")
            end, before = entry.begin + entry.bytes, entry.name
        return table

    def _entry(
        self, start: int, alignment: int, name: str, shape: tuple[int, ...], kind: int, offset: int
    ) -> TensorEntry:
        try:
            encoding = GGMLQuantizationType(kind)
        except ValueError:
            raise UnsupportedModelError(
                f"{self._name} holds {name!r:.80} in an encoding that is not known here (type {kind:,})."
            ) from None
        block_elements, block_bytes = GGML_QUANT_SIZES[encoding]
        if min(shape) < 1 or math.prod(shape) > _MOST_ELEMENTS or shape[-1] % block_elements:
            raise self._damaged(f"{name!r:.80} has the impossible shape {list(shape)} in {encoding.name}")
        count = math.prod(shape) // block_elements * block_bytes
        if offset % alignment:
            raise self._damaged(f"{name!r:.80} does not begin at a multiple of {alignment:,} bytes")
        if start + offset + count > self._size:
            raise self._damaged(f"{name!r:.80} runs past its end: it was cut short, or is still being downloaded")
        return TensorEntry(name, shape, encoding, start + offset, count)

    def _value(self, key: str) -> Any:
        kind = self._scalar("I")
        if kind == GGUFValueType.STRING:
            return self._string(key)
        if kind != GGUFValueType.ARRAY:
            return self._scalar(self._form(key, kind))
        element, count = self._scalar("I"), self._scalar("Q")
        self._values += count
        if element == GGUFValueType.STRING:
            self._bound(f"texts in {key!r:.80}", count, MOST_VALUES, each=8)
            self._check_values()
            return self._strings(key, count)
        form = self._form(key, element)
        self._bound(f"numbers in {key!r:.80}", count, MOST_VALUES, each=struct.calcsize(f"<{form}"))
        self._check_values()
        return list(struct.unpack(f"<{count}{form}", self._take(count * struct.calcsize(f"<{form}"))))

    def _form(self, key: str, kind: int) -> str:
        if kind not in _SCALARS:
            what = "a list of lists" if kind == GGUFValueType.ARRAY else f"a value of the unknown kind {kind:,}"
            raise UnsupportedModelError(f"{self._name} holds {what} in its metadata ({key!r:.80}).")
        return _SCALARS[GGUFValueType(kind)]

    def _check_values(self) -> None:
        if self._values > MOST_VALUES:
            raise self._damaged(f"its metadata holds more than {MOST_VALUES:,} values")

    def _bound(self, what: str, count: int, most: int, each: int = 12) -> None:
        """Refuse a count that is beyond what is read here, or that the rest of the file cannot hold."""
        if count > most:
            raise self._damaged(f"it claims {count:,} {what}, and at most {most:,} are read")
        if count * each > self._left:
            raise self._damaged(f"it claims {count:,} {what}, which the rest of it cannot hold: it was cut short")

    @property
    def _left(self) -> int:
        return self._size - self._passed - self._at

    def _strings(self, key: str, count: int) -> list[str]:
        """Texts, a window of them at a time: there are hundreds of thousands."""
        found: list[str] = []
        length_at = struct.Struct("<Q").unpack_from
        while len(found) < count:
            window, at, end = self._window, self._at, len(self._window)
            try:
                while len(found) < count and at + 8 <= end and (stop := at + 8 + length_at(window, at)[0]) <= end:
                    found.append(window[at + 8 : stop].decode("utf-8"))
                    at = stop
            except UnicodeDecodeError:
                raise self._no_utf8(key) from None
            self._at = at
            if len(found) < count:  # one that begins in this window and ends in the next
                found.append(self._string(key))
        return found

    def _string(self, what: str) -> str:
        length = self._scalar("Q")
        if length > self._left:
            raise self._damaged(f"a text in it ({what:.80}) would be {length:,} bytes long")
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self._no_utf8(what) from None

    def _scalar(self, form: str) -> Any:
        return struct.unpack(f"<{form}", self._take(struct.calcsize(f"<{form}")))[0]

    def _take(self, count: int) -> bytes:
        """The next bytes."""
        end = self._at + count
        if end > len(self._window):
            if self._passed + end > LARGEST_HEAD:
                raise self._damaged(f"its metadata and table take more than {LARGEST_HEAD // 2**20:,} MiB")
            self._passed += self._at
            rest = self._window[self._at :]
            self._window = rest + self._file.read(max(count - len(rest), _WINDOW_BYTES))
            self._at, end = 0, count
            if end > len(self._window):
                raise self._damaged("it was cut short, or is still being downloaded")
        taken = self._window[self._at : end]
        self._at = end
        return taken

    def _no_utf8(self, what: str) -> WeightsIntegrityError:
        return self._damaged(f"a text in it ({what:.80}) is not UTF-8")

    def _damaged(self, reason: str) -> WeightsIntegrityError:
        return WeightsIntegrityError(f"{self._name} cannot be read: {reason}.")
