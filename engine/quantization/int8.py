"""8-bit weights, one scale a row: the embedding and the head of the 4-bit precisions."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from engine.quantization.linear import optional_bias


class Int8Linear:
    """Symmetric int8 codes with a bf16 scale for each output row; activations stay in bf16.

    The codes keep the plain ``[out, in]`` layout, so one copy serves as embedding and as head.
    """

    def __init__(self, codes: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        self.codes = codes
        self.scale = scale
        self.bias = bias

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None) -> Self:
        codes = torch.empty(weight.shape, dtype=torch.int8)
        scale = torch.empty(weight.shape[0], dtype=torch.bfloat16)
        # in slices: a head of 150,000 rows would otherwise need its fp32 copy at once
        for start in range(0, weight.shape[0], 8192):
            rows = weight[start : start + 8192].float()
            step = (rows.abs().amax(dim=1) / 127).clamp_min(1e-12).to(torch.bfloat16)
            scale[start : start + 8192] = step
            codes[start : start + 8192] = (rows / step.float()[:, None]).round_().clamp_(-127, 127).to(torch.int8)
        return cls(codes, scale, None if bias is None else bias.to(torch.bfloat16))

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
