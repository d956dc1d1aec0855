"""GGUF files: what their head says, and tensors as 16-bit brain floats.

The ``gguf`` package knows the quantization formats and decodes them here. Its own reader trusts a file, and builds an
array object for every string of the vocabulary, which takes seconds where :mod:`.gguf_header` takes tenths.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

from engine.errors import WeightsIntegrityError
from engine.models.sources.gguf_header import TensorEntry, read_head

PIECE_ELEMENTS = 1 << 18
"""Decoded at a time: small enough for a core's cache, large enough to hide the interpreter."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor, still encoded, in its file."""

    file: Path
    entry: TensorEntry

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows first, as torch and numpy write it."""
        return self.entry.shape

    @property
    def encoding(self) -> GGMLQuantizationType:
        return self.entry.encoding

    @property
    def elements(self) -> int:
        return math.prod(self.entry.shape)

    def read(self, begin: int = 0, count: int | None = None) -> Bytes:
        """Some of its bytes, all by default. Read, not mapped: a file that is cut short meanwhile ends no process.

        Raises:
            WeightsIntegrityError: the file has become shorter.
        """
        count = self.entry.bytes - begin if count is None else count
        raw = np.fromfile(self.file, np.uint8, count, offset=self.entry.begin + begin)
        if raw.size != count:
            raise WeightsIntegrityError(f"{self.file.name} was cut short while it was read.")
        return raw


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A GGUF file whose head was read."""

    path: Path
    metadata: dict[str, Any]
    tensors: tuple[GgufTensor, ...]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the head of ``path``.

        Raises:
            UnsupportedModelError, WeightsIntegrityError, OSError: as :func:`~.gguf_header.read_head`.
        """
        metadata, table = read_head(path)
        return cls(path, metadata, tuple(GgufTensor(path, entry) for entry in table))

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
        return 8 * sum(tensor.entry.bytes for tensor in self.tensors) / self.parameters


def decode_bf16(pieces: Iterator[tuple[Bytes, GGMLQuantizationType]], threads: int) -> Iterator[bytes]:
    """Decode ``pieces`` on ``threads`` threads, in order, at most a few ahead of the consumer.

    numpy lets go of the interpreter lock while it computes, so threads do help.

    Raises:
        WeightsIntegrityError: a weight is not a finite number.
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


def piece_bytes(encoding: GGMLQuantizationType) -> int:
    """How many bytes to decode at a time: whole blocks of about :data:`PIECE_ELEMENTS` weights."""
    block_elements, block_bytes = GGML_QUANT_SIZES[encoding]
    return max(1, PIECE_ELEMENTS // block_elements) * block_bytes


def _decode(raw: Bytes, encoding: GGMLQuantizationType) -> bytes:
    # As one long row: the package walks 16 rows at a time, too few to be worth numpy's while.
    values = np.ascontiguousarray(dequantize(raw.reshape(1, -1), encoding), np.float32)
    if not np.isfinite(values).all():
        raise WeightsIntegrityError("The file holds weights that are not finite numbers: it is damaged.")
    return _round_to_bf16(values).tobytes()


def _round_to_bf16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The upper halves of the floats, rounded to nearest, ties to even. Weights are finite."""
    bits = values.view(np.uint32)
    bias = bits >> 16
    bias &= 1
    bias += 0x7FFF
    bias += bits
    bias >>= 16
    return bias.astype("<u2")
