"""Steps of a few rows whose operations never change, so that CUDA can record them once and replay them.

A decoder's step is some hundred small kernels, and launching them one by one takes longer than they run. A CUDA
graph launches all at once, but always the same ones over the same memory: so token ids and positions lie in fixed
tensors, keys and values are written at the position that one of them holds, and attention covers a window of fixed
length behind a mask. Windows come in a few lengths, since attending to all of a long cache costs its whole length.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.cache import KVCache
from engine.models.decoders.decoder import DecoderLayer, EagerDecoder
from engine.models.format.decoder_config import DecoderConfig
from engine.quantization import EmbeddingLinear
from engine.types import KVDtype

log = logging.getLogger(__name__)

SMALLEST_BUCKET = 256
MOST_ROWS = 16
"""Larger chunks are worth no graph: their kernels run longer than they take to launch."""


def bucket_of(end: int, capacity: int) -> int:
    """How many positions a step attends to: a power of two that reaches ``end``, at least 256, or the whole cache."""
    return min(max(SMALLEST_BUCKET, 1 << (end - 1).bit_length()), capacity)


class GraphDecoder(EagerDecoder):
    """An eager decoder whose steps of up to :data:`MOST_ROWS` rows are CUDA graphs.

    Elsewhere than on CUDA the same static steps are computed without a graph.
    """

    def __init__(
        self,
        config: DecoderConfig,
        embedding: EmbeddingLinear,
        layers: list[DecoderLayer],
        norm: Tensor,
        head: EmbeddingLinear,
    ) -> None:
        super().__init__(config, embedding, layers, norm, head)
        self._steps: WeakKeyDictionary[KVCache, dict[tuple[int, int, int], StaticStep]] = WeakKeyDictionary()

    def new_cache(self, capacity: int, dtype: KVDtype = KVDtype.BF16, window: int | None = None) -> KVCache:
        cache = super().new_cache(capacity, dtype, window)
        for layer in cache.layers:
            layer.zero_()  # masked positions are multiplied by zero, which makes no number of a NaN
        return cache

    def forward(self, ids: Tensor, cache: KVCache) -> Tensor:
        rows = ids.shape[0]
        if not _is_static(rows, cache):
            return super().forward(ids, cache)
        start, end = cache.claim(rows)
        steps = self._steps.setdefault(cache, {})
        bucket = bucket_of(end, cache.capacity)
        key = (cache.capacity, bucket, rows)  # a cache that is cut to size has other tensors
        if key not in steps:
            steps[key] = StaticStep(rows, bucket, self.device)
        hidden = steps[key](self, ids, start, cache.layers)
        cache.commit(rows)
        return hidden

    def layer_by_layer(self, ids: Tensor, cache: KVCache) -> Iterator[Tensor]:
        if _is_static(ids.shape[0], cache):
            yield self.forward(ids, cache)
        else:
            yield from super().layer_by_layer(ids, cache)


def _is_static(rows: int, cache: KVCache) -> bool:
    """Whether a pass over so many rows is worth a graph."""
    return rows <= MOST_ROWS and cache.dtype is KVDtype.BF16


class StaticStep:
    """A forward pass of so many rows over one cache, whose last row lies within one bucket.

    It holds neither the decoder nor the cache, so that either can be let go.
    """

    def __init__(self, rows: int, bucket: int, device: torch.device) -> None:
        self._bucket = bucket
        self._rows = torch.arange(rows, device=device)
        self._ids = torch.zeros(rows, dtype=torch.long, device=device)
        self._positions = torch.zeros(rows, dtype=torch.long, device=device)
        self._replay: Callable[[], None] | None = None
        self._hidden: Tensor | None = None

    def __call__(self, decoder: EagerDecoder, ids: Tensor, start: int, layers: list[Tensor]) -> Tensor:
        """Append ``ids`` at ``start`` of ``layers``, which are always the same; hidden states ``[rows, hidden]``."""
        self._ids.copy_(ids)
        self._positions.copy_(self._rows + start)
        if self._ids.device.type != "cuda":
            return self.compute(decoder, layers)
        if self._hidden is None:
            self._capture(decoder, layers)
        if self._replay is None or self._hidden is None:
            return self.compute(decoder, layers)
        self._replay()
        return self._hidden.clone()  # the next replay writes over it

    def _capture(self, decoder: EagerDecoder, layers: list[Tensor]) -> None:
        """Record the step. What cannot be recorded is computed step by step, and the log says so once."""
        graph = torch.cuda.CUDAGraph()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._hidden = self.compute(decoder, layers)  # libraries set themselves up at their first call
        torch.cuda.current_stream().wait_stream(side)
        try:
            # other threads may ask CUDA for memory meanwhile
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._hidden = self.compute(decoder, layers)
        except RuntimeError as error:
            log.warning("a step of %d rows runs without a CUDA graph: %s", len(self._rows), error)
        else:
            self._replay = graph.replay

    def compute(self, decoder: EagerDecoder, layers: list[Tensor]) -> Tensor:
        """The step over what ids and positions hold now; no operation depends on their values."""
        positions, bucket = self._positions, self._bucket
        behind = positions[:, None] - torch.arange(bucket, device=positions.device)
        masks = {
            window: behind >= 0 if window is None else (behind >= 0) & (behind < window)
            for window in set(decoder.config.windows)
        }

        def attend(q: Tensor, keys: Tensor, values: Tensor, kv: Tensor, window: int | None) -> Tensor:
            kv.index_copy_(0, positions, torch.stack((keys, values), dim=1))
            all_keys, all_values = kv[:bucket].permute(1, 2, 0, 3).unbind(0)
            out = F.scaled_dot_product_attention(
                q.transpose(0, 1)[None],
                all_keys[None],
                all_values[None],
                attn_mask=masks[window],
                enable_gqa=q.shape[1] != all_keys.shape[0],
            )
            return out[0].transpose(0, 1).reshape(len(q), -1)

        return decoder.compute(self._ids, positions.float(), layers, attend)
