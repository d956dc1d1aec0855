"""16 bits on the CPU: long texts through torch's matrix products, a few tokens through the kernels of our own."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.models.decoders.decoder import Decoder, EagerDecoder
from engine.models.decoders.native_decoder import NativeDecoder
from engine.types import MAX_GAMMA

FEW_ROWS = MAX_GAMMA + 1
"""One token, or one and as many drafted ones as there can be."""


class HybridDecoder(Decoder):
    """Two decoders over the same weights and the same KV.

    Our kernels read 16-bit weights at the memory's speed and compute each row as if it were alone, but multiply
    slowly; torch's do the opposite.
    """

    invariant_rows = FEW_ROWS

    def __init__(self, many: EagerDecoder, few: NativeDecoder) -> None:
        """
        Args:
            many: for more than :data:`FEW_ROWS` rows.
            few: for the rest.
        """
        self.config = many.config
        self.many = many
        self.few = few
        self.head = many.head
        """Both use the same table."""

    @property
    def native(self) -> NativeDecoder:
        return self.few

    def native_for(self, rows: int) -> NativeDecoder | None:
        return self.few if rows <= FEW_ROWS else None

    def forward(self, ids: Tensor, cache: KVCache) -> Tensor:
        """bf16 or fp32, depending on who computed it; :meth:`logits` takes either."""
        return (self.few if ids.shape[0] <= FEW_ROWS else self.many).forward(ids, cache)

    def layer_by_layer(self, ids: Tensor, cache: KVCache) -> Iterator[Tensor]:
        return (self.few if ids.shape[0] <= FEW_ROWS else self.many).layer_by_layer(ids, cache)

    def logits(self, hidden: Tensor) -> Tensor:
        if hidden.shape[0] <= FEW_ROWS:
            return self.few.logits(hidden.float())
        return self.many.logits(hidden.to(torch.bfloat16))
