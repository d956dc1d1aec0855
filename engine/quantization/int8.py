"""8-bit weights, one scale a row. On the CPU, embedding and head are held so at every quantized precision."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from engine.native.kernels import Kind, library
from engine.quantization.bf16 import Bf16Linear, NativeBf16Linear
from engine.quantization.bnb import bitsandbytes
from engine.quantization.groups import GROUP_SIZE, GroupCodes
from engine.quantization.linear import optional_bias
from engine.quantization.native import PANEL, NativeLinear
from engine.quantization.scheme import Scheme, Schemes

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


class CudaInt8Linear(Int8Linear):
    """Symmetric int8 codes with a scale for each output, against int8 activations with a scale for each token."""

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return out_features % 4 == 0 and in_features % 4 == 0  # what cuBLASLt multiplies

    def __call__(self, x: Tensor) -> Tensor:
        # in fp32: bitsandbytes' own quantization takes fp16 alone, which some models' activations overflow
        step = (x.float().abs().amax(dim=-1, keepdim=True) / 127).clamp_min(1e-12)
        codes = (x.float() / step).round_().to(torch.int8)
        bitsandbytes()
        y: Tensor = torch.ops.bitsandbytes.int8_linear_matmul.default(codes, self.codes)
        y = (y.float() * step * self.scale.float()).to(x.dtype)
        return y if self.bias is None else y + self.bias


SCHEMES = Schemes(
    own=lambda: Scheme(NativeInt8Linear, NativeInt8Linear, NativeBf16Linear, "gearbox", native=True),
    cpu=lambda: Scheme(Int8Linear, Int8Linear, Bf16Linear, "torch int8pack"),
    cuda=lambda device: Scheme(CudaInt8Linear, Bf16Linear, Bf16Linear, "bitsandbytes int8"),
)
