"""Reading with a decoder in passes that may be shared with those of others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from torch import Tensor

from engine.backends.passes import Hidden, Steps, Whole, ask
from engine.cache import KVCache
from engine.models.decoders.decoder import Decoder

T = TypeVar("T")


class PassReader:
    """A decoder as :class:`~engine.models.decoders.reading.Reader`."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def new_cache(self, capacity: int) -> KVCache:
        return self.decoder.new_cache(capacity)

    def forward(self, ids: Tensor, cache: KVCache) -> Steps[Tensor]:
        """As a prompt is read: beside others as much of it in a pass as they can wait for."""
        return ask(Hidden(self.decoder, ids, cache))

    def logits(self, hidden: Tensor) -> Steps[Tensor]:
        return ask(Whole(partial(self.decoder.logits, hidden)))

    def compute(self, work: Callable[[], T]) -> Steps[T]:
        return ask(Whole(work))
