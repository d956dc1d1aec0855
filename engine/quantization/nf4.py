"""4-bit normal-float weights (QLoRA, arXiv:2305.14314): bitsandbytes' codes, its kernels or our own."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from engine.native.kernels import Kind, library
from engine.quantization.bf16 import Bf16Linear, NativeBf16Linear
from engine.quantization.bnb import bitsandbytes
from engine.quantization.groups import GROUP_SIZE, GroupCodes
from engine.quantization.int8 import Int8Linear, NativeInt8Linear
from engine.quantization.linear import optional_bias
from engine.quantization.native import NativeLinear, by_panel, nibbles
from engine.quantization.scheme import Scheme, Schemes

BLOCK_SIZE = 64
"""Weights that share one absolute maximum."""


class Nf4Linear:
    """bitsandbytes' fused 4-bit product where the processor has it, else dequantize and multiply.

    The fused CPU kernel reads a layout of its own. Given the plain one it returns garbage without a
    word, so the two are told apart by the shape of ``absmax``: ``[in / 64, out]`` when packed.
    """

    def __init__(self, codes: Tensor, absmax: Tensor, shape: tuple[int, int], bias: Tensor | None) -> None:
        bnb = bitsandbytes()
        self.codes = codes
        self.absmax = absmax
        self.shape = shape
        self.bias = bias
        self._table: Tensor = bnb.get_4bit_type("nf4", device=codes.device)
        self._fused = absmax.dim() == 2
        self._quant_state = bnb.QuantState(
            absmax, shape=torch.Size(shape), code=self._table, blocksize=BLOCK_SIZE, quant_type="nf4",
            dtype=torch.bfloat16,
        )  # fmt: skip

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        return in_features % BLOCK_SIZE == 0  # blocks that span two rows come back wrong where there is AVX-512

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        bnb = bitsandbytes()
        out_features, in_features = weight.shape
        packed, state = bnb.quantize_4bit(weight.contiguous(), blocksize=BLOCK_SIZE, quant_type="nf4")
        if _can_be_fused(out_features, in_features):
            packed, state = bnb._convert_weight_packed_for_cpu(packed, state)
        return cls(packed, state.absmax, (out_features, in_features), None if bias is None else bias.to(torch.bfloat16))

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        out_features, in_features = state["shape"].tolist()
        return cls(state["codes"], state["absmax"], (out_features, in_features), state.get("bias"))

    def state(self) -> dict[str, Tensor]:
        return {
            "codes": self.codes,
            "absmax": self.absmax,
            "shape": torch.tensor(self.shape),
            **optional_bias(self.bias),
        }

    def __call__(self, x: Tensor) -> Tensor:
        y = self._fused_product(x) if self._fused else x @ self.dequantize().T
        return y if self.bias is None else y + self.bias

    def _fused_product(self, x: Tensor) -> Tensor:
        # the kernel takes strides for granted: a last dimension that is not dense reads garbage
        y: Tensor = torch.ops.bitsandbytes.gemv_4bit.default(
            x.contiguous(), self.codes, self.shape, self.absmax, self._table, BLOCK_SIZE
        )
        return y

    def dequantize(self) -> Tensor:
        """The weights the codes stand for, bf16 ``[out, in]``."""
        if self._fused:
            # the fused kernel multiplies by whatever it is given, by the identity too
            eye = torch.eye(self.shape[1], dtype=torch.bfloat16)
            return self._fused_product(eye).T
        weight: Tensor = bitsandbytes().dequantize_4bit(self.codes, self._quant_state)
        return weight

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        # packing for the fused kernel halves the absolute maxima to bf16
        per_block = 2 if _can_be_fused(out_features, in_features) else 4
        return out_features * in_features // 2 + per_block * out_features * in_features // BLOCK_SIZE


def _can_be_fused(out_features: int, in_features: int) -> bool:
    return fused_kernel_available() and out_features % 32 == 0 and in_features % BLOCK_SIZE == 0


def nf4_levels() -> Tensor:
    """The sixteen values between −1 and 1 that NF4 codes stand for, fp32."""
    levels: Tensor = bitsandbytes().get_4bit_type("nf4", device="cpu")
    return levels


def nf4_codes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """bitsandbytes' codes for ``weight [out, in]``, uint8 ``[out, in]``, and their fp32 maxima ``[out, in / 64]``."""
    packed, state = bitsandbytes().quantize_4bit(weight.contiguous(), blocksize=BLOCK_SIZE, quant_type="nf4")
    pairs = packed.view(weight.shape[0], weight.shape[1] // 2)  # the first of two weights in the high half
    return torch.stack([pairs >> 4, pairs & 15], dim=-1).view(weight.shape), state.absmax.view(weight.shape[0], -1)


def fused_kernel_available() -> bool:
    """Whether this processor has the AVX512-BF16 instructions that bitsandbytes' CPU kernel needs."""
    return bool(bitsandbytes().has_avx512bf16())


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
        return cls(torch.cat([nibbles(nf4), by_panel(per_group)], dim=-1), None, bias)


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


def _cpu() -> Scheme:
    kernel = "bitsandbytes fused" if fused_kernel_available() else "bitsandbytes dequantize, torch bf16"
    return Scheme(Nf4Linear, Int8Linear, Bf16Linear, kernel, packed_by="bitsandbytes")


SCHEMES = Schemes(
    own=lambda: Scheme(NativeNf4Linear, NativeInt8Linear, NativeBf16Linear, "gearbox", native=True),
    cpu=_cpu,
    cuda=lambda device: Scheme(
        CudaNf4Linear, Bf16Linear, Bf16Linear, "bitsandbytes gemm_4bit", packed_by="bitsandbytes"
    ),
)
