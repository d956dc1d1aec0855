"""bitsandbytes' NF4 as it is saved: two codes of 4 bits in a byte, and for each block of weights its absolute maximum.

``weight = level[code] · maximum``. With double quantization the maxima are bytes themselves, which a second table,
second maxima and an offset turn back. Settings that are no tensors are saved as JSON in a tensor of bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.errors import UnsupportedModelError, WeightsIntegrityError
from engine.models.format.packed import BLOCK_SIZES, NF4_STATE
from engine.untrusted import parse_json

_SLICE_BLOCKS = 2**18


def dequantize_nf4(weight: str, shape: tuple[int, ...], read: Callable[[str], Tensor]) -> Tensor:
    """The weights that codes stand for, bf16 ``[out, in]``.

    Args:
        weight: its name.
        shape: out and in.
        read: gives a tensor by its name; shapes and types have been checked.

    Raises:
        UnsupportedModelError: it is quantized in another way than NF4.
        WeightsIntegrityError: its settings contradict its tensors.
    """
    out_features, in_features = shape
    state = _State(weight, read(f"{weight.removesuffix('.weight')}.{NF4_STATE}"))
    state.check("quant_type", "nf4")
    state.check("shape", [out_features, in_features])
    pairs, absmax = read(weight).flatten(), read(f"{weight}.absmax")
    block = state.block_size("blocksize", out_features * in_features, len(absmax))
    if absmax.dtype == torch.uint8:
        outer = read(f"{weight}.nested_absmax")
        outer_block = state.block_size("nested_blocksize", len(absmax), len(outer))
        factors = outer.repeat_interleave(outer_block)[: len(absmax)]
        absmax = read(f"{weight}.nested_quant_map")[absmax.long()] * factors + state.number("nested_offset")
    levels = read(f"{weight}.quant_map").float()
    codes = torch.stack([pairs >> 4, pairs & 15], dim=-1).flatten()[: out_features * in_features]
    flat = torch.empty(out_features * in_features, dtype=torch.bfloat16)
    for first in range(0, len(absmax), _SLICE_BLOCKS):
        some = slice(first * block, (first + _SLICE_BLOCKS) * block)
        factors = absmax[first : first + _SLICE_BLOCKS].repeat_interleave(block)
        part = levels[codes[some].long()]
        flat[some] = part * factors[: len(part)]
    return flat.view(out_features, in_features)


class _State:
    """The settings of one weight."""

    def __init__(self, weight: str, raw: Tensor) -> None:
        self._weight = weight
        try:
            tree = parse_json(bytes(raw.tolist()))
        except ValueError as error:
            raise self._damaged(f"they are no JSON, {error}") from error
        if not isinstance(tree, dict):
            raise self._damaged("they are no JSON object")
        self._tree: dict[str, Any] = tree

    def check(self, key: str, wanted: str | list[int]) -> None:
        found = self._tree.get(key)
        if found != wanted:
            if key == "quant_type" and isinstance(found, str):
                raise UnsupportedModelError(f"{self._weight} is quantized as {found:.40}, and only nf4 is read.")
            raise self._damaged(f"{key} is {found!r:.80}, and should be {wanted!r}")

    def block_size(self, key: str, elements: int, blocks: int) -> int:
        """Elements of a block, if it gives so many blocks."""
        size = self._tree.get(key)
        if type(size) is not int or size not in BLOCK_SIZES or -(-elements // size) != blocks:
            raise self._damaged(f"{key} is {size!r:.80}, for {elements:,} numbers in {blocks:,} blocks")
        return size

    def number(self, key: str) -> float:
        value = self._tree.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._damaged(f"{key} is {value!r:.80}")
        return float(value)

    def _damaged(self, why: str) -> WeightsIntegrityError:
        return WeightsIntegrityError(
            f"The settings that bitsandbytes saved for {self._weight} are damaged: {why}. Copy or download the model "
            "again."
        )
