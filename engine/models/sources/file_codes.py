"""The 4-bit codes of a published GGUF file, so that int4 keeps its weights instead of rounding them again.

Q4_0, Q4_1 and Q4_K all say ``weight = code · scale + minimum`` for groups of 32 (Q4_K packs eight groups and
keeps their scales in 6 bits). The block layouts are those of ggml-quants.h, https://github.com/ggml-org/ggml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from gguf import GGMLQuantizationType

from engine.models.sources.conversion import checked_config, rows_as_trained
from engine.models.sources.gguf_config import hf_name, weights_of
from engine.models.sources.gguf_file import Bytes, GgufFile
from engine.quantization import GROUP_SIZE, GroupCodes

Floats = npt.NDArray[np.float32]
_Blocks = tuple[npt.NDArray[np.uint8], Floats, Floats]
"""Codes ``[blocks, 32 · groups]``, scales and minima ``[blocks, groups]``."""


class FileCodes:
    """Looks tensors of a checkpoint up in the file it was converted from."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            UnsupportedModelError, WeightsIntegrityError: it is not a file of a model that runs here.
        """
        self._gguf = GgufFile.open(path)
        checked_config(self._gguf)
        self._tensors = {hf_name(tensor.name): tensor for tensor in weights_of(self._gguf)}

    def find(self, name: str, shape: Sequence[int]) -> GroupCodes | None:
        """Codes of the tensor that the checkpoint calls ``name``; ``None`` if the file holds it otherwise."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.encoding not in _DECODERS or tensor.shape != tuple(shape):
            return None
        out_features, in_features = tensor.shape
        decode, block_bytes = _DECODERS[tensor.encoding]
        raw = rows_as_trained(self._gguf, tensor)
        codes, scale, minimum = decode(raw.reshape(-1, block_bytes))
        groups = in_features // GROUP_SIZE
        return GroupCodes(
            torch.from_numpy(codes.reshape(out_features, in_features)),
            torch.from_numpy(scale.reshape(out_features, groups)),
            torch.from_numpy(minimum.reshape(out_features, groups)),
        )


def _nibbles(packed: Bytes) -> npt.NDArray[np.uint8]:
    """16 bytes hold the first 16 codes of a group in their low halves, the others in their high halves."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _fp16(raw: Bytes) -> Floats:
    return np.ascontiguousarray(raw).view(np.float16).astype(np.float32)


def _q4_0(blocks: Bytes) -> _Blocks:
    scale = _fp16(blocks[:, :2])
    return _nibbles(blocks[:, 2:]), scale, -8 * scale


def _q4_1(blocks: Bytes) -> _Blocks:
    return _nibbles(blocks[:, 4:]), _fp16(blocks[:, :2]), _fp16(blocks[:, 2:4])


def _q4_k(blocks: Bytes) -> _Blocks:
    d, dmin, sixths = _fp16(blocks[:, :2]), _fp16(blocks[:, 2:4]), blocks[:, 4:16]
    first, second, third = sixths[:, :4], sixths[:, 4:8], sixths[:, 8:]
    scale = np.concatenate([first & 63, (third & 15) | ((first >> 6) << 4)], axis=1)
    minimum = np.concatenate([second & 63, (third >> 4) | ((second >> 6) << 4)], axis=1)
    # each 32 bytes hold two groups, one in the low halves and one in the high
    codes = _nibbles(blocks[:, 16:].reshape(-1, 4, 32)).reshape(-1, 256)
    return codes, d * scale, -dmin * minimum


def keeps_codes(encodings: Iterable[str]) -> bool:
    """Whether int4 takes over codes of a file with such encodings."""
    return any(GGMLQuantizationType[name] in _DECODERS for name in encodings)


_DECODERS: dict[GGMLQuantizationType, tuple[Callable[[Bytes], _Blocks], int]] = {
    GGMLQuantizationType.Q4_0: (_q4_0, 18),
    GGMLQuantizationType.Q4_1: (_q4_1, 20),
    GGMLQuantizationType.Q4_K: (_q4_k, 144),
}
