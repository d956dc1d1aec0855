"""LLM.int8() (arXiv:2208.07339): 8-bit weights, input columns with outliers multiplied in 16 bits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.quantization.bf16 import Bf16Linear
from engine.quantization.bnb import bitsandbytes
from engine.quantization.int8 import CudaInt8Linear
from engine.quantization.scheme import Scheme, Schemes

OUTLIER = 6.0
"""LLM.int8()'s threshold: an input column with an activation this large is multiplied in 16 bits."""


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


def _scheme() -> Scheme:
    return Scheme(LlmInt8Linear, Bf16Linear, Bf16Linear, "bitsandbytes llm.int8", static=False)


SCHEMES = Schemes(cpu=_scheme, cuda=lambda device: _scheme())
