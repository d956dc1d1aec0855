"""One module a precision, with its matrices and its schemes; one Linear contract. This room knows nothing of models."""

from __future__ import annotations

from typing import assert_never

import torch

from engine.errors import UnsupportedModelError
from engine.quantization import bf16, int4, int8, llm_int8, nf4
from engine.quantization.bf16 import fast_bf16_gemm
from engine.quantization.groups import GROUP_SIZE, GroupCodes, quantize_groups
from engine.quantization.linear import EmbeddingLinear, Linear, state_bytes
from engine.quantization.native import NativeLinear
from engine.quantization.scheme import Scheme, Schemes
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


def scheme_of(precision: Precision, *, native: bool) -> Scheme:
    """How a precision is held on the CPU: for the kernels of our own where they can be had, else for torch's."""
    schemes = _schemes(precision)
    return schemes.own() if native and schemes.own else schemes.cpu()


def cuda_scheme_of(precision: Precision, device: torch.device) -> Scheme:
    """How a precision is held on CUDA: embedding and head in 16 bits at every one, as bitsandbytes leaves them."""
    return _schemes(precision).cuda(device)


def _schemes(precision: Precision) -> Schemes:
    match precision:
        case Precision.BF16:
            return bf16.SCHEMES
        case Precision.INT8:
            return int8.SCHEMES
        case Precision.INT4:
            return int4.SCHEMES
        case Precision.NF4:
            return nf4.SCHEMES
        case Precision.LLM_INT8:
            return llm_int8.SCHEMES
        case Precision.UNKNOWN:
            raise UnsupportedModelError("A model of this machine is held in a precision that is known.")
        case _:
            assert_never(precision)
