"""Reading with a decoder in passes that may be shared with those of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from torch import Tensor

from engine.cache import KVCache
from engine.models.decoders.decoder import Decoder
from engine.passes import Hidden, Steps, Whole, ask
from engine.types import KVDtype

T = TypeVar("T")


class PassReader:
    """A decoder as :class:`~engine.models.decoders.reading.Reader`."""

    def __init__(self, decoder: Decoder, kv_dtype: KVDtype = KVDtype.BF16) -> None:
        """
        Args:
            decoder: what is read with.
            kv_dtype: how keys and values of what is read are kept.
        """
        self.decoder = decoder
        self._kv_dtype = kv_dtype

    def new_cache(self, capacity: int) -> KVCache:
        return self.decoder.new_cache(capacity, self._kv_dtype)

    def chunks(self, ids: Tensor, cache: KVCache) -> Sequence[Tensor]:
        return self.decoder.chunks(ids, cache)

    def forward(self, ids: Tensor, cache: KVCache) -> Steps[Tensor]:
        """In passes that others can wait for: of as many rows as they leave room for, or, where rows that are cut
        otherwise would not be the same to the last bit, of a layer each."""
        if self.decoder.native_for(len(ids)):
            rows: Tensor = yield from ask(Hidden(self.decoder, ids, cache))
            return rows
        layers, hidden = self.decoder.layer_by_layer(ids, cache), ids

        def next_layer() -> Tensor | None:
            return next(layers, None)

        while (after := (yield from ask(Whole(next_layer)))) is not None:
            hidden = after
        return hidden

    def logits(self, hidden: Tensor) -> Steps[Tensor]:
        return ask(Whole(partial(self.decoder.logits, hidden)))

    def compute(self, work: Callable[[], T]) -> Steps[T]:
        return ask(Whole(work))
