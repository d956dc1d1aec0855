"""Reads GGUF: the metadata, the table of tensors, and tensors as 16-bit brain floats.

The ``gguf`` package knows the quantization formats and decodes them here. Its own reader builds an
array object for every string of the vocabulary, which takes seconds where this one takes tenths.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, dequantize

PIECE_ELEMENTS = 1 << 18
"""Decoded at a time: small enough for a core's cache, large enough to hide the interpreter."""

_SCALARS = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
}

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor, still encoded."""

    name: str
    shape: tuple[int, ...]
    """Rows first, as torch and numpy write it (the file has it the other way round)."""
    encoding: GGMLQuantizationType
    raw: Bytes
    """A view into the mapped file, one row of bytes for each row of the tensor."""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A mapped GGUF file."""

    metadata: dict[str, Any]
    tensors: tuple[GgufTensor, ...]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map ``path`` and read its header.

        Raises:
            ValueError: it is not a GGUF file of version 2 or 3, or it is cut short.
        """
        with path.open("rb") as file:
            blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        cursor = _Cursor(blob)
        try:
            if blob[:4] != b"GGUF" or cursor.skip(4).scalar("<I") not in (2, 3):
                raise ValueError(f"{path.name} is not a GGUF file of version 2 or 3.")
            tensor_count, entry_count = cursor.scalar("<Q"), cursor.scalar("<Q")
            metadata = {cursor.string(): cursor.value(cursor.scalar("<I")) for _ in range(entry_count)}
            table = [_table_row(cursor) for _ in range(tensor_count)]
            alignment = metadata.get("general.alignment", 32)
            start = -(-cursor.position // alignment) * alignment
            tensors = tuple(_tensor(blob, start, *row) for row in table)
        except struct.error as error:
            raise ValueError(f"{path.name} is cut short: {error}.") from error
        return cls(metadata, tensors)

    @property
    def parameters(self) -> int:
        """How many weights the file holds."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def encodings(self) -> dict[str, int]:
        """Weights held in each encoding, most used first."""
        count: Counter[str] = Counter()
        for tensor in self.tensors:
            count[tensor.encoding.name] += tensor.elements
        return dict(count.most_common())

    @property
    def bits_per_weight(self) -> float:
        """Mean bits that a weight takes in the file, scales and unquantized tensors included."""
        return 8 * sum(tensor.raw.nbytes for tensor in self.tensors) / self.parameters


def decode_bf16(pieces: Iterator[tuple[Bytes, GGMLQuantizationType]], threads: int) -> Iterator[bytes]:
    """Decode ``pieces`` on ``threads`` threads, in order, at most a few ahead of the consumer.

    numpy lets go of the interpreter lock while it computes, so threads do help.
    """
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[bytes]] = deque()
        try:
            for piece in pieces:
                ahead.append(pool.submit(_decode, *piece))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def split(tensor: GgufTensor, raw: Bytes) -> Iterator[tuple[Bytes, GGMLQuantizationType]]:
    """``raw`` (the tensor's bytes, its rows perhaps in another order) in pieces of whole blocks."""
    block_elements, block_bytes = GGML_QUANT_SIZES[tensor.encoding]
    step = max(1, PIECE_ELEMENTS // block_elements) * block_bytes
    flat = raw.reshape(-1)
    for start in range(0, flat.size, step):
        yield flat[start : start + step], tensor.encoding


def _decode(raw: Bytes, encoding: GGMLQuantizationType) -> bytes:
    # As one long row: the package walks 16 rows at a time, too few to be worth numpy's while.
    values = dequantize(raw.reshape(1, -1), encoding)
    return _round_to_bf16(np.ascontiguousarray(values, np.float32)).tobytes()


def _round_to_bf16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The upper halves of the floats, rounded to nearest, ties to even. Weights are finite."""
    bits = values.view(np.uint32)
    bias = bits >> 16
    bias &= 1
    bias += 0x7FFF
    bias += bits
    bias >>= 16
    return bias.astype("<u2")


class _Cursor:
    """Walks the header."""

    def __init__(self, blob: mmap.mmap) -> None:
        self._blob = blob
        self.position = 0

    def skip(self, count: int) -> Self:
        self.position += count
        return self

    def scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self._blob, self.position)
        self.position += struct.calcsize(form)
        return value

    def string(self) -> str:
        length = self.scalar("<Q")
        start = self.position
        if start + length > len(self._blob):
            raise struct.error("a string runs past the end")
        self.position += length
        return self._blob[start : self.position].decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == GGUFValueType.STRING:
            return self.string()
        if kind == GGUFValueType.ARRAY:
            element, count = self.scalar("<I"), self.scalar("<Q")
            return [self.value(element) for _ in range(count)]
        if kind not in _SCALARS:
            raise ValueError(f"The metadata holds a value of unknown kind {kind}.")
        return self.scalar(_SCALARS[GGUFValueType(kind)])


def _table_row(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.string()
    dimensions = [cursor.scalar("<Q") for _ in range(cursor.scalar("<I"))]
    return name, tuple(reversed(dimensions)), cursor.scalar("<I"), cursor.scalar("<Q")


def _tensor(blob: mmap.mmap, start: int, name: str, shape: tuple[int, ...], kind: int, offset: int) -> GgufTensor:
    encoding = GGMLQuantizationType(kind)
    block_elements, block_bytes = GGML_QUANT_SIZES[encoding]
    row_bytes = shape[-1] // block_elements * block_bytes
    rows = math.prod(shape[:-1])
    begin = start + offset
    if begin + rows * row_bytes > len(blob):
        raise struct.error(f"tensor {name} runs past the end")
    raw = np.frombuffer(blob, np.uint8, rows * row_bytes, begin).reshape(rows, row_bytes)
    return GgufTensor(name, shape, encoding, raw)
