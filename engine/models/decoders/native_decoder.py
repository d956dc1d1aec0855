"""The forward pass in one call of the kernels of our own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from ctypes import c_int32
from typing import NamedTuple, Self

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.models.decoders.decoder import Decoder
from engine.models.format.decoder_config import DecoderConfig
from engine.native.kernels import Kind, Layer, Library, Matrix, Model, address_of
from engine.native.kernels import Segment as Claimed
from engine.native.kernels import Sequence as Text
from engine.quantization import EmbeddingLinear, Linear, NativeLinear
from engine.types import KVDtype

HEAD_DIM_STEP = 16
"""The attention kernel takes heads of whole steps."""
_ONE_TOKEN = torch.zeros(1, dtype=torch.long)


class Segment(NamedTuple):
    """Tokens of one sequence that are to be read."""

    ids: Tensor
    """int64 ``[rows]``."""
    cache: KVCache
    """What they are read behind."""


class NativeDecoder(Decoder):
    """Every row is computed as if it were alone, to the last bit, however many come in one call.

    So a prompt may be cut into chunks anywhere, a kept prefix may be reused, and drafted tokens may be
    verified together: what comes out is what one token after the other would have given.
    """

    invariant_rows = sys.maxsize
    prefill_chunk = 128  # larger ones are no faster

    def __init__(
        self,
        config: DecoderConfig,
        library: Library,
        modules: dict[str, Linear],
        norms: dict[str, Tensor],
    ) -> None:
        """
        Args:
            config: the decoder's shape; its ``head_dim`` is a multiple of :data:`HEAD_DIM_STEP`.
            library: the kernels.
            modules: matrices in the kernels' layouts, by name.
            norms: norm weights by name.

        Raises:
            TypeError: a matrix is in another layout.
            ValueError: a norm or a matrix is missing, or of another shape than ``config`` promises.
        """
        self.config = config
        self.head: EmbeddingLinear = modules.get("head", modules["embedding"])  # type: ignore[assignment]
        self._library = library
        self._modules = modules
        # addresses of these go into the structures, so they live as long as the decoder
        self._norms = {name: norm.float().contiguous() for name, norm in norms.items()}
        self._inv_freq = torch.tensor(config.inv_freq)
        self._layers = (Layer * config.n_layers)(*(self._layer(i) for i in range(config.n_layers)))
        self._model = Model(
            config.n_layers,
            config.hidden_size,
            config.intermediate_size,
            config.n_heads,
            config.n_kv_heads,
            config.head_dim,
            config.norm_eps,
            config.rope_scaling,
            address_of(self._inv_freq, torch.float, (config.head_dim // 2,)),
            self._norm("norm", config.hidden_size),
            self._layers,
            self._matrix("embedding"),
        )
        library.check_model(self._model)
        self._head_matrix = self._matrix("head" if "head" in modules else "embedding")
        library.check_matrix(self._head_matrix)
        if self._head_matrix.inputs != config.hidden_size:
            raise ValueError(f"a head of {self._head_matrix.inputs} inputs for {config.hidden_size} features")
        self._kv_form = (config.n_layers, config.n_kv_heads, config.head_dim, "cpu")

    def forward(self, ids: Tensor, cache: KVCache) -> Tensor:
        return self.forward_many([Segment(ids, cache)])[0]

    def forward_many(self, segments: Sequence[Segment]) -> list[Tensor]:
        """As :meth:`forward` of each segment, in one pass: every row is what it is alone, to the last bit.

        Returns:
            ``[rows, hidden]`` of each.

        Raises:
            ValueError: a cache has no room, is another model's, or that of two segments; or a token is unknown.
                Nobody has read anything then.
        """
        self._check(segments)
        rows = [ids.shape[0] for ids, _ in segments]
        ids = segments[0].ids.contiguous() if len(segments) == 1 else torch.cat([ids for ids, _ in segments])
        claimed = [_claimed(cache, count) for (_, cache), count in zip(segments, rows, strict=True)]
        hidden = self._library.forward(self._model, ids, claimed)
        for (_, cache), count in zip(segments, rows, strict=True):
            cache.commit(count)
        return list(hidden.split(rows))

    @property
    def native(self) -> Self:
        return self

    @property
    def rows_together(self) -> int:
        """Rows that one reading of a layer's weights serves."""
        return self._library.rows_together(Kind(self._layers[0].gate_up.kind))

    def write_many(self, texts: Sequence[tuple[Text, KVCache]], interrupt: c_int32) -> None:
        """Append the last token of each text to its cache, choose the next one, and so on; see :meth:`Library.write`.

        Args:
            texts: each text, in all but its KV, and the cache of all but its last token. A window that is full slides
                before the first token, and nothing is written beyond what a cache has been granted.
            interrupt: ends it once it is not 0.

        Raises:
            ValueError: a cache is full, another model's, or that of two texts; or a token is unknown. Nobody has
                written anything then.
        """
        self._check([Segment(_ONE_TOKEN, cache) for _, cache in texts])
        for text, cache in texts:
            start, _ = cache.claim(1)
            text.most = min(text.most, cache.granted - start)
            text.kv, text.kv_length, text.kv_capacity = cache.addresses, start, cache.capacity
            text.kv_in_int8 = cache.dtype is KVDtype.INT8
        self._library.write(self._model, self._head_matrix, [text for text, _ in texts], interrupt)
        for text, cache in texts:
            cache.commit(text.written)

    def _check(self, segments: Sequence[Segment]) -> None:
        """See that segments can be read beside one another, before any cache has changed."""
        if len({id(cache) for _, cache in segments}) < len(segments):
            raise ValueError("two sequences of one pass share a cache")
        for ids, cache in segments:
            if cache.form != self._kv_form:
                raise ValueError(f"a cache of {cache.form} for a model of {self._kv_form}")
            cache.check_room(ids.shape[0])

    def logits(self, hidden: Tensor) -> Tensor:
        return self._library.multiply(self._head_matrix, hidden)

    def logits_many(self, hidden: Sequence[Tensor]) -> list[Tensor]:
        """As :meth:`logits` of each ``[rows, hidden]``, in one product that reads the head's weights once."""
        if len(hidden) == 1:
            return [self.logits(hidden[0])]
        return list(self.logits(torch.cat(list(hidden))).split([len(rows) for rows in hidden]))

    def _layer(self, i: int) -> Layer:
        hidden, head = self.config.hidden_size, self.config.head_dim
        return Layer(
            self._norm(f"layers.{i}.input_norm", hidden),
            self._norm(f"layers.{i}.post_norm", hidden),
            self._norm(f"layers.{i}.q_norm", head),
            self._norm(f"layers.{i}.k_norm", head),
            self._matrix(f"layers.{i}.qkv"),
            self._matrix(f"layers.{i}.o"),
            self._matrix(f"layers.{i}.gate_up"),
            self._matrix(f"layers.{i}.down"),
            self.config.windows[i] or 0,
        )

    def _norm(self, name: str, width: int) -> int | None:
        """Where a norm's weights are; ``None`` for one that is not there, which the kernels refuse where it must be."""
        norm = self._norms.get(name)
        return None if norm is None else address_of(norm, torch.float, (width,))

    def _matrix(self, name: str) -> Matrix:
        module = self._modules[name]
        if not isinstance(module, NativeLinear):
            raise TypeError(f"{name} is not in the kernels' own layout")
        return module.matrix


def _claimed(cache: KVCache, rows: int) -> Claimed:
    """Room for rows behind what a cache holds, as the kernels see it."""
    start, _ = cache.claim(rows)
    return Claimed(rows, start, cache.capacity, cache.addresses, cache.dtype is KVDtype.INT8)
