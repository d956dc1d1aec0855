"""One module a precision, one Linear contract. This room knows matrices and nothing of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import torch

from engine.quantization.bf16 import Bf16Linear, fast_bf16_gemm
from engine.quantization.cuda import (
    CudaInt8Linear,
    CudaNf4Linear,
    LlmInt8Linear,
    PlainInt4Linear,
    TinyGemmInt4Linear,
    tinygemm_works,
)
from engine.quantization.groups import GROUP_SIZE, GroupCodes, quantize_groups
from engine.quantization.int4 import Int4Linear
from engine.quantization.int8 import Int8Linear
from engine.quantization.linear import EmbeddingLinear, Linear, state_bytes
from engine.quantization.native import (
    NativeBf16Linear,
    NativeInt4Linear,
    NativeInt8Linear,
    NativeLinear,
    NativeNf4Linear,
)
from engine.quantization.nf4 import Nf4Linear, fused_kernel_available
from engine.types import Precision

__all__ = [
    "GROUP_SIZE",
    "EmbeddingLinear",
    "GroupCodes",
    "Linear",
    "NativeLinear",
    "Scheme",
    "cuda_scheme_of",
    "fast_bf16_gemm",
    "quantize_groups",
    "scheme_of",
    "state_bytes",
]


@dataclass(frozen=True, slots=True)
class Scheme:
    """Which matrix holds which part of a model at one precision."""

    body: type[Linear]
    """The projections inside the layers."""
    head: type[EmbeddingLinear]
    """The embedding and the output head: 4 bits here cost the smallest model most of its quality."""
    fallback: type[EmbeddingLinear]
    """Takes a matrix whose shape the others refuse."""
    kernel: str
    """What multiplies, as it stands in a run's environment."""
    native: bool = False
    """Whether all of a decoder's matrices are in the layout of the kernels of our own."""
    few_rows: type[NativeBf16Linear] | None = None
    """Holds the very same matrices for kernels that are faster where there are few rows."""
    static: bool = True
    """Whether a product's operations are the same for all activations, as a CUDA graph needs them."""

    def linear(self, out_features: int, in_features: int, *, is_head: bool) -> type[Linear]:
        """The class for a matrix: what the precision wants, or what its shape allows."""
        wanted = self.head if is_head else self.body
        return wanted if wanted.fits(out_features, in_features) else self.fallback


_NATIVE: dict[Precision, type[Linear]] = {
    Precision.INT8: NativeInt8Linear,
    Precision.INT4: NativeInt4Linear,
    Precision.NF4: NativeNf4Linear,
}


_LLM_INT8 = Scheme(LlmInt8Linear, Bf16Linear, Bf16Linear, "bitsandbytes llm.int8", static=False)


def scheme_of(precision: Precision, *, native: bool) -> Scheme:
    """How a precision is held: for the kernels of our own where they can be had, else for torch's."""
    if native and precision in _NATIVE:
        return Scheme(_NATIVE[precision], NativeInt8Linear, NativeBf16Linear, "gearbox", native=True)
    match precision:
        case Precision.INT8:
            return Scheme(Int8Linear, Int8Linear, Bf16Linear, "torch int8pack")
        case Precision.INT4:
            return Scheme(Int4Linear, Int8Linear, Bf16Linear, "torch int4pack")
        case Precision.NF4:
            fused = "bitsandbytes fused" if fused_kernel_available() else "bitsandbytes dequantize, torch bf16"
            return Scheme(Nf4Linear, Int8Linear, Bf16Linear, fused)
        case Precision.LLM_INT8:
            return _LLM_INT8
        case Precision.BF16:
            kernel = "torch bf16" if fast_bf16_gemm() else "bf16 weights, products in fp32"
            if native:
                return Scheme(Bf16Linear, Bf16Linear, Bf16Linear, f"gearbox, {kernel}", few_rows=NativeBf16Linear)
            return Scheme(Bf16Linear, Bf16Linear, Bf16Linear, kernel)
        case _:
            assert_never(precision)


def cuda_scheme_of(precision: Precision, device: torch.device) -> Scheme:
    """How a precision is held on CUDA: embedding and head in 16 bits at every one."""
    match precision:
        case Precision.INT8:
            return Scheme(CudaInt8Linear, Bf16Linear, Bf16Linear, "bitsandbytes int8")
        case Precision.INT4:
            if tinygemm_works(device):
                return Scheme(TinyGemmInt4Linear, Bf16Linear, Bf16Linear, "torch int4pack")
            return Scheme(PlainInt4Linear, Bf16Linear, Bf16Linear, "int4 dequantized, torch bf16")
        case Precision.NF4:
            return Scheme(CudaNf4Linear, Bf16Linear, Bf16Linear, "bitsandbytes gemm_4bit")
        case Precision.LLM_INT8:
            return _LLM_INT8
        case Precision.BF16:
            return Scheme(Bf16Linear, Bf16Linear, Bf16Linear, "torch bf16")
        case _:
            assert_never(precision)
