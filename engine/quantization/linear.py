"""The contract every precision fulfils: a matrix that multiplies rows, and knows its bytes.

Two kinds of matrix need it. A *linear* maps activations ``[rows, in] -> [rows, out]`` in bf16; an
*embedding* looks rows up by token id. Both can be written to disk as plain tensors in the layout
their kernel wants, so that a model is packed once and only read afterwards.
"""

from __future__ import annotations

from typing import Protocol, Self

import torch
from torch import Tensor

from engine.quantization.groups import GroupCodes


class Linear(Protocol):
    """``y = x Wᵀ + b`` with W held in some precision."""

    @classmethod
    def fits(cls, out_features: int, in_features: int) -> bool:
        """Whether the kernel takes a matrix of that shape."""
        ...

    @classmethod
    def pack(cls, weight: Tensor, bias: Tensor | None, codes: GroupCodes | None = None) -> Self:
        """Build from bf16 ``weight [out, in]`` and ``bias [out]``; the shape fits.

        ``codes`` are the codes that the published file holds the weights in, for a precision that can keep
        them as they are.
        """
        ...

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Self:
        """The inverse of :meth:`state`."""
        ...

    def state(self) -> dict[str, Tensor]:
        """The tensors that make it up, contiguous, in the kernel's layout."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """bf16 ``[rows, in] -> [rows, out]``."""
        ...

    @classmethod
    def estimate_bytes(cls, out_features: int, in_features: int) -> int:
        """What :meth:`state` will weigh, bias left out, known before packing."""
        ...


class Embedding(Protocol):
    """Rows looked up by token id."""

    def rows(self, ids: Tensor) -> Tensor:
        """int64 ``[n]`` -> bf16 ``[n, hidden]``."""
        ...


class EmbeddingLinear(Linear, Embedding, Protocol):
    """Serves as embedding and as output head, so that tied models hold one copy."""


def state_bytes(state: dict[str, Tensor]) -> int:
    """Bytes of all tensors of a state, a storage held by two names counted once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in state.values()}
    return sum(storages.values())


def optional_bias(bias: Tensor | None) -> dict[str, Tensor]:
    """The bias as a part of a state: absent when there is none."""
    return {} if bias is None else {"bias": bias.to(torch.bfloat16)}
