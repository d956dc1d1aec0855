"""Which matrix holds which part of a model: a scheme for each precision and each set of kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.quantization.linear import EmbeddingLinear, Linear


@dataclass(frozen=True, slots=True)
class Scheme:
    """Which matrix holds which part of a model at one precision. Bytes are those of its classes' ``estimate_bytes``."""

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
    few_rows: Callable[[dict[str, Tensor]], Linear] | None = None
    """Gives, from a matrix's state, the very same one for kernels that are faster where there are few rows."""
    static: bool = True
    """Whether a product's operations are the same for all activations, as a CUDA graph needs them."""
    packs: bool = True
    """Whether matrices are brought into another layout, which is then worth keeping on disk."""
    packed_by: Literal["torch", "bitsandbytes"] = "torch"
    """The package whose version decides the layout, unless it is that of the kernels of our own."""
    keeps_codes: bool = False
    """Whether the body takes the 4-bit codes of a published file as they are."""

    def linear(self, out_features: int, in_features: int, *, is_head: bool) -> type[Linear]:
        """The class for a matrix: what the precision wants, or what its shape allows."""
        wanted = self.head if is_head else self.body
        return wanted if wanted.fits(out_features, in_features) else self.fallback


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemes:
    """The schemes of one precision, by what multiplies. Functions, because some look at the processor first."""

    own: Callable[[], Scheme] | None = None
    """For the kernels of our own on the CPU; ``None`` for a precision that they do not have."""
    cpu: Callable[[], Scheme]
    """For the kernels of torch and bitsandbytes on the CPU."""
    cuda: Callable[[torch.device], Scheme]
    """For a GPU."""
