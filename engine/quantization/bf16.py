"""16 bits: the weights as they are."""

from __future__ import annotations

from functools import cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.quantization.groups import GroupCodes
from engine.quantization.linear import optional_bias

_SLICE_ROWS = 8192


@cache
def fast_bf16_gemm() -> bool:
    """Whether the processor multiplies bf16 matrices in hardware; torch's way without it is ten times slower
    than fp32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Bf16Linear:
    """A bf16 matrix through torch's own GEMM. Also an embedding."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight.contiguous()
        self.bias = bias

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return True

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        return cls(weight.to(torch.bfloat16), None if bias is None else bias.to(torch.bfloat16))

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        return cls(state["weight"], state.get("bias"))

    def state(self) -> dict[str, Tensor]:
        return {"weight": self.weight, **optional_bias(self.bias)}

    def __call__(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return F.linear(x, self.weight, self.bias)
        if not fast_bf16_gemm():
            return self._product_in_fp32(x)
        if x.shape[0] > 1:
            return F.linear(x, self.weight, self.bias)
        # one row: torch's matrix-vector kernel streams the weights half again as fast as its GEMM
        y = torch.mv(self.weight, x[0]) if self.bias is None else torch.addmv(self.bias, self.weight, x[0])
        return y[None]

    def _product_in_fp32(self, x: Tensor) -> Tensor:
        """The same sums in fp32, rounded once at their end, over slices whose fp32 copy stays small."""
        x32 = x.float()
        parts = [F.linear(x32, rows.float()) for rows in self.weight.split(_SLICE_ROWS)]
        y = torch.cat(parts, dim=-1)
        return (y if self.bias is None else y + self.bias).to(torch.bfloat16)

    def rows(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return 2 * out_features * in_features
