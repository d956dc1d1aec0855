"""Matrices for CUDA. What is not torch's kernel alone runs on the CPU too, where the tests are.

The head and the embedding stay in 16 bits here, as bitsandbytes leaves them.
"""

from __future__ import annotations

from functools import cache
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.quantization.groups import GROUP_SIZE, GroupCodes, fits, quantize_groups
from engine.quantization.int8 import Int8Linear
from engine.quantization.linear import optional_bias
from engine.quantization.nf4 import BLOCK_SIZE, Nf4Linear, bitsandbytes

OUTLIER = 6.0
"""LLM.int8()'s threshold: an input column with an activation this large is multiplied in 16 bits."""


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


class LlmInt8Linear(CudaInt8Linear):
    """LLM.int8() (arXiv:2208.07339) through bitsandbytes' kernels.

    An input column in which any row reaches :data:`OUTLIER` is left out of the 8-bit product and multiplied in
    bf16. Which columns these are depends on the activations, so no CUDA graph can hold it.
    """

    def __call__(self, x: Tensor) -> Tensor:
        # what overflows fp16 is an outlier, and read from x itself
        codes, largest, outliers = bitsandbytes().int8_vectorwise_quant(x.to(torch.float16), threshold=OUTLIER)
        y: Tensor = torch.ops.bitsandbytes.int8_scaled_mm.default(
            codes, self.codes, largest, self.scale.float() * 127, bias=self.bias, dtype=x.dtype
        )
        if outliers is None or not len(outliers):
            return y
        weight = self.codes[:, outliers].to(x.dtype) * self.scale[:, None]
        return y + F.linear(x[:, outliers], weight)


class CudaNf4Linear(Nf4Linear):
    """bitsandbytes' plain layout: its 4-bit product for few rows, and for many what it prefers, dequantize and GEMM."""

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return in_features % BLOCK_SIZE == 0

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        packed, state = bitsandbytes().quantize_4bit(weight.contiguous(), blocksize=BLOCK_SIZE, quant_type="nf4")
        shape = (weight.shape[0], weight.shape[1])
        return cls(packed, state.absmax, shape, None if bias is None else bias.to(torch.bfloat16))

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.bitsandbytes.gemm_4bit.default(
            x.contiguous(), self.codes, self.shape, self.absmax, BLOCK_SIZE, "nf4", self.bias
        )
        return y

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return out_features * in_features // 2 + 4 * out_features * in_features // BLOCK_SIZE


class PlainInt4Linear:
    """``w = (code − 8) · scale + zero`` in groups of 32, dequantized for every product."""

    def __init__(self, packed: Tensor, scales_zeros: Tensor, bias: Tensor | None) -> None:
        """
        Args:
            packed: uint8 ``[out, in / 2]``, the first of two codes in the high half.
            scales_zeros: bf16 ``[in / 32, out, 2]``.
            bias: bf16 ``[out]``.
        """
        self.packed = packed
        self.scales_zeros = scales_zeros
        self.bias = bias

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return fits(out_features, in_features, 8)

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        codes = codes or quantize_groups(weight)
        zero = codes.minimum + 8 * codes.scale
        scales_zeros = torch.stack([codes.scale, zero], dim=-1).to(torch.bfloat16).transpose(0, 1).contiguous()
        nibbles = codes.codes[:, ::2] << 4 | codes.codes[:, 1::2]
        return cls(cls._arranged(nibbles), scales_zeros, None if bias is None else bias.to(torch.bfloat16))

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        return cls(state["packed"], state["scales_zeros"], state.get("bias"))

    def state(self) -> dict[str, Tensor]:
        return {"packed": self.packed, "scales_zeros": self.scales_zeros, **optional_bias(self.bias)}

    @staticmethod
    def _arranged(nibbles: Tensor) -> Tensor:
        """uint8 ``[out, in / 2]`` in the kernel's layout, which here is none."""
        return nibbles

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.dequantize(), self.bias)

    def dequantize(self) -> Tensor:
        """The weights the codes stand for, bf16 ``[out, in]``."""
        codes = torch.stack([self.packed >> 4, self.packed & 15], dim=-1).view(len(self.packed), -1, GROUP_SIZE)
        scale, zero = self.scales_zeros.transpose(0, 1)[..., None].unbind(-2)
        return torch.addcmul(zero, codes.to(torch.bfloat16) - 8, scale).reshape(len(self.packed), -1)

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        return out_features * in_features // 2 + 4 * out_features * (in_features // GROUP_SIZE)


class TinyGemmInt4Linear(PlainInt4Linear):
    """The same weights through torch's int4 kernel for CUDA, which reads a layout of its own."""

    @staticmethod
    def _arranged(nibbles: Tensor) -> Tensor:
        in_features = 2 * nibbles.shape[1]
        inner_tiles = next(tiles for tiles in (8, 4, 2) if in_features % (16 * tiles) == 0)
        packed: Tensor = torch.ops.aten._convert_weight_to_int4pack(nibbles.contiguous(), inner_tiles)
        return packed

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.aten._weight_int4pack_mm(x.contiguous(), self.packed, GROUP_SIZE, self.scales_zeros)
        return y if self.bias is None else y + self.bias

    def dequantize(self) -> Tensor:
        """What the kernel multiplies by, found by multiplying the identity: slow, for tests."""
        in_features = GROUP_SIZE * len(self.scales_zeros)
        eye = torch.eye(in_features, dtype=torch.bfloat16, device=self.packed.device)
        columns: Tensor = torch.ops.aten._weight_int4pack_mm(eye, self.packed, GROUP_SIZE, self.scales_zeros)
        return columns.T


@cache
def tinygemm_works(device: torch.device) -> bool:
    """Whether torch's int4 kernel multiplies here, and by the weights it was given: tried in each of its layouts."""
    generator = torch.Generator().manual_seed(0)
    for in_features in (96, 192, 256):
        weight = torch.randn(64, in_features, generator=generator).to(device, torch.bfloat16)
        x = torch.randn(3, in_features, generator=generator).to(device, torch.bfloat16)
        wanted = PlainInt4Linear.pack(weight, None)(x).float()
        try:
            got = TinyGemmInt4Linear.pack(weight, None)(x).float()
        except (RuntimeError, NotImplementedError):  # a GPU before Ampere, or another torch
            return False
        if not (got - wanted).norm() < 0.02 * wanted.norm():
            return False
    return True
