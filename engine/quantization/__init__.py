"""One module a precision, one Linear contract. This room knows matrices and nothing of models."""

from __future__ import annotations

from dataclasses import dataclass

from engine.quantization.bf16 import Bf16Linear
from engine.quantization.int4 import Int4Linear
from engine.quantization.int8 import Int8Linear
from engine.quantization.linear import EmbeddingLinear, Linear, state_bytes
from engine.quantization.nf4 import Nf4Linear, fused_kernel_available
from engine.types import Precision

__all__ = ["SCHEMES", "EmbeddingLinear", "Linear", "Scheme", "fused_kernel_available", "state_bytes"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """Which matrix holds which part of a model at one precision."""

    body: type[Linear]
    """The projections inside the layers."""
    head: type[EmbeddingLinear]
    """The embedding and the output head: 4 bits here cost the smallest model most of its quality."""


SCHEMES: dict[Precision, Scheme] = {
    Precision.BF16: Scheme(body=Bf16Linear, head=Bf16Linear),
    Precision.INT4: Scheme(body=Int4Linear, head=Int8Linear),
    Precision.NF4: Scheme(body=Nf4Linear, head=Int8Linear),
}
