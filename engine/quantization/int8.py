"""8-bit weights, one scale a row. Embedding and head are held so at every quantized precision."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from engine.quantization.groups import GroupCodes
from engine.quantization.linear import optional_bias

_SLICE_ROWS = 8192


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric codes for ``weight [out, in]``: int8 ``[out, in]``, −127 to 127, and a bf16 scale ``[out]``."""
    codes = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scale = torch.empty(weight.shape[0], dtype=torch.bfloat16, device=weight.device)
    # in slices: a head of 150,000 rows would otherwise need its fp32 copy at once
    for start in range(0, weight.shape[0], _SLICE_ROWS):
        rows = weight[start : start + _SLICE_ROWS].float()
        step = (rows.abs().amax(dim=1) / 127).clamp_min(1e-12).to(torch.bfloat16)
        scale[start : start + _SLICE_ROWS] = step
        codes[start : start + _SLICE_ROWS] = (rows / step.float()[:, None]).round_().clamp_(-127, 127).to(torch.int8)
    return codes, scale


class Int8Linear:
    """Symmetric int8 codes with a bf16 scale for each output row; activations stay in bf16.

    The codes keep the plain ``[out, in]`` layout, so one copy serves as embedding and as head.
    """

    def __init__(self, codes: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        self.codes = codes
        self.scale = scale
        self.bias = bias

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        # torch's kernel reads past the end of other shapes, up to a crash
        return out_features % 4 == 0 and in_features % 32 == 0

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        quantized, scale = quantize_rows(weight)
        return cls(quantized, scale, None if bias is None else bias.to(torch.bfloat16))

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        return cls(state["codes"], state["scale"], state.get("bias"))

    def state(self) -> dict[str, Tensor]:
        return {"codes": self.codes, "scale": self.scale, **optional_bias(self.bias)}

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.aten._weight_int8pack_mm(x.contiguous(), self.codes, self.scale)
        return y if self.bias is None else y + self.bias

    def rows(self, ids: Tensor) -> Tensor:
        return self.codes[ids].to(torch.bfloat16) * self.scale[ids, None]

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return out_features * in_features + 2 * out_features
