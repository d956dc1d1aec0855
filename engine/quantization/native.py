"""Matrices for the kernels of our own: 4 and 8 bits in panels of eight outputs, 16 bits where those do not fit.

The layouts are described in ``engine/native/panels.h``. Activations are quantized to 8 bits inside the kernels,
each token in groups of 32, so a row's result does not depend on its neighbours.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from engine.native.kernels import Kind, Matrix, address_of, library
from engine.quantization.groups import GROUP_SIZE, GroupCodes, fits, quantize_groups
from engine.quantization.int8 import quantize_rows
from engine.quantization.linear import optional_bias
from engine.quantization.nf4 import BLOCK_SIZE, nf4_codes, nf4_levels

PANEL = 8


class NativeLinear:
    """What the four kinds share: the product, and the matrix as the kernels see it."""

    kind: ClassVar[Kind]
    group_bytes: ClassVar[int]
    """Bytes of one group of 32 inputs of a panel of eight outputs."""

    def __init__(self, data: Tensor, scale: Tensor | None, bias: Tensor | None) -> None:
        """
        Args:
            data: contiguous, in the kind's layout: uint8 ``[out / 8, in / 32, group_bytes]``, or bf16 ``[out, in]``.
            scale: fp32 ``[out]`` where the kind has one.
            bias: ``[out]``.

        Raises:
            ValueError: a tensor has another type, shape or place.
        """
        if data.dim() != (2 if self.kind is Kind.BF16 else 3):
            raise ValueError(f"a matrix of {self.kind.name.lower()} is not kept in {data.dim()} dimensions")
        self.data = data
        self.scale = scale
        self.bias = None if bias is None else bias.float().contiguous()
        self.out_features, self.in_features = self._shape()
        if (scale is None) == (self.kind is Kind.INT8):
            raise ValueError(f"a matrix of {self.kind.name.lower()} with or without a scale, against its layout")
        outputs = (self.out_features,)
        self.matrix = Matrix(
            self.kind,
            self.out_features,
            self.in_features,
            self._data_address(),
            None if scale is None else address_of(scale, torch.float, outputs),
            None if self.bias is None else address_of(self.bias, torch.float, outputs),
        )

    def _shape(self) -> tuple[int, int]:
        return PANEL * self.data.shape[0], GROUP_SIZE * self.data.shape[1]

    def _data_address(self) -> int:
        return address_of(self.data, torch.uint8, (*self.data.shape[:2], self.group_bytes))

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return fits(out_features, in_features, PANEL)

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        return cls(state["data"], state.get("scale"), state.get("bias"))

    def state(self) -> dict[str, Tensor]:
        scale = {} if self.scale is None else {"scale": self.scale}
        return {"data": self.data, **scale, **optional_bias(self.bias)}

    def __call__(self, x: Tensor) -> Tensor:
        lib = library()
        if lib is None:
            raise RuntimeError("a matrix in the kernels' own layout without the kernels")
        return lib.multiply(self.matrix, x.float()).to(x.dtype)

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return out_features // PANEL * (in_features // GROUP_SIZE) * cls.group_bytes


class NativeInt4Linear(NativeLinear):
    """Groups of 32 codes with a scale and a minimum each, in fp16."""

    kind = Kind.INT4
    group_bytes = 160

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        codes = codes or quantize_groups(weight)
        scales = [_by_panel(part) for part in (codes.scale, codes.minimum)]
        return cls(torch.cat([_nibbles(codes.codes), *scales], dim=-1), None, bias)

    def codes(self) -> GroupCodes:
        """The codes as they were packed."""
        nibbles = self.data[..., :128].reshape(*self.data.shape[:2], 4, PANEL, 4)
        halves = torch.stack([nibbles & 15, nibbles >> 4], dim=2)  # [panel, group, half, register, output, byte]
        codes = halves.permute(0, 4, 1, 2, 3, 5).reshape(self.out_features, self.in_features)
        scale, minimum = (
            self.data[..., at : at + 16].contiguous().view(torch.half).transpose(1, 2).reshape(self.out_features, -1)
            for at in (128, 144)
        )
        return GroupCodes(codes, scale.float(), minimum.float())


class NativeNf4Linear(NativeLinear):
    """bitsandbytes' NF4 codes, their absolute maxima in fp16, once for each half of a block of 64."""

    kind = Kind.NF4
    group_bytes = 144

    def __init__(self, data: Tensor, scale: Tensor | None, bias: Tensor | None) -> None:
        super().__init__(data, scale, bias)
        if lib := library():
            steps = (nf4_levels() * 16256).round().to(torch.int32)
            high = torch.div(steps, 128, rounding_mode="floor")
            lib.set_nf4_table(high.to(torch.int8), (steps - 128 * high).to(torch.int8))

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return super().fits(out_features, in_features) and in_features % BLOCK_SIZE == 0

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        nf4, absmax = nf4_codes(weight)
        per_group = absmax.repeat_interleave(BLOCK_SIZE // GROUP_SIZE, dim=1)
        return cls(torch.cat([_nibbles(nf4), _by_panel(per_group)], dim=-1), None, bias)


class NativeInt8Linear(NativeLinear):
    """One scale a row. Also an embedding."""

    kind = Kind.INT8
    group_bytes = 256

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        quantized, scale = quantize_rows(weight)
        panels = quantized.view(-1, PANEL, quantized.shape[1] // GROUP_SIZE, 8, 4).permute(0, 2, 3, 1, 4)
        return cls(panels.reshape(panels.shape[0], panels.shape[1], -1).view(torch.uint8), scale.float(), bias)

    def rows(self, ids: Tensor) -> Tensor:
        lib = library()
        if lib is None:
            raise RuntimeError("a matrix in the kernels' own layout without the kernels")
        return lib.lookup(self.matrix, ids).to(torch.bfloat16)

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return super().estimate_bytes(out_features, in_features) + 4 * out_features


class NativeBf16Linear(NativeLinear):
    """Takes the place of a quantized matrix whose shape has no whole groups or panels. Also an embedding."""

    kind = Kind.BF16
    group_bytes = 0

    def _shape(self) -> tuple[int, int]:
        return self.data.shape[0], self.data.shape[1]

    def _data_address(self) -> int:
        return address_of(self.data, torch.bfloat16, self.data.shape)

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return True

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        return cls(weight.to(torch.bfloat16), None, bias)

    def rows(self, ids: Tensor) -> Tensor:
        return self.data[ids]

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return 2 * out_features * in_features


def _nibbles(codes: Tensor) -> Tensor:
    """uint8 ``[out, in]`` below 16 -> ``[out / 8, in / 32, 128]``, inputs 0–15 of a group in the low halves."""
    out_features, in_features = codes.shape
    parts = codes.view(out_features // PANEL, PANEL, in_features // GROUP_SIZE, 2, 4, 4)
    low, high = parts.permute(3, 0, 2, 4, 1, 5)
    packed: Tensor = low | (high << 4)
    return packed.reshape(out_features // PANEL, in_features // GROUP_SIZE, 128)


def _by_panel(values: Tensor) -> Tensor:
    """fp32 ``[out, groups]`` -> the bytes of fp16 ``[out / 8, groups, 8]``."""
    panels = values.view(-1, PANEL, values.shape[1]).transpose(1, 2).contiguous()
    as_bytes: Tensor = panels.half().view(torch.uint8)
    return as_bytes
