"""What the matrices for the kernels of our own share: panels of eight outputs, groups of 32 inputs.

The layouts are described in ``engine/native/panels.h``. Activations are quantized to 8 bits inside the kernels,
each token in groups of 32, so a row's result does not depend on its neighbours.
"""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from torch import Tensor

from engine.native.kernels import Kind, Matrix, address_of, library
from engine.quantization.groups import GROUP_SIZE, fits
from engine.quantization.linear import optional_bias

PANEL = 8


class NativeLinear:
    """The product, and the matrix as the kernels see it. A kind says how its weights are packed."""

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


def nibbles(codes: Tensor) -> Tensor:
    """uint8 ``[out, in]`` below 16 -> ``[out / 8, in / 32, 128]``, inputs 0–15 of a group in the low halves."""
    out_features, in_features = codes.shape
    parts = codes.view(out_features // PANEL, PANEL, in_features // GROUP_SIZE, 2, 4, 4)
    low, high = parts.permute(3, 0, 2, 4, 1, 5)
    packed: Tensor = low | (high << 4)
    return packed.reshape(out_features // PANEL, in_features // GROUP_SIZE, 128)


def by_panel(values: Tensor) -> Tensor:
    """fp32 ``[out, groups]`` -> the bytes of fp16 ``[out / 8, groups, 8]``."""
    panels = values.view(-1, PANEL, values.shape[1]).transpose(1, 2).contiguous()
    as_bytes: Tensor = panels.half().view(torch.uint8)
    return as_bytes
