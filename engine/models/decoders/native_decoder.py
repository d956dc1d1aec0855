"""The forward pass in one call of the kernels of our own."""

from __future__ import annotations

import sys
from typing import Self

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.models.decoders.decoder import Decoder
from engine.models.format.decoder_config import DecoderConfig
from engine.native.kernels import Layer, Library, Matrix, Model, Sequence, address_of
from engine.quantization import EmbeddingLinear, Linear, NativeLinear
from engine.types import KVDtype

HEAD_DIM_STEP = 16
"""The attention kernel takes heads of whole steps."""


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
        rows = ids.shape[0]
        self._check_form(cache)
        start, _ = cache.claim(rows)
        hidden = self._library.forward(
            self._model,
            ids.contiguous(),
            start,
            cache.capacity,
            cache.addresses,
            kv_in_int8=cache.dtype is KVDtype.INT8,
        )
        cache.commit(rows)
        return hidden

    @property
    def native(self) -> Self:
        return self

    def write(self, sequence: Sequence, cache: KVCache) -> None:
        """Append the text's last token to the cache, choose the next one, and so on; see :meth:`Library.write`.

        Args:
            sequence: the text, in all but its KV.
            cache: of the text without its last token. A window that is full slides before the first token, and is not
                written beyond its room.

        Raises:
            ValueError: the cache is full, or another model's.
            NonFiniteLogitsError: there is no probability to draw a token by.
        """
        self._check_form(cache)
        start, _ = cache.claim(1)
        sequence.most = min(sequence.most, cache.capacity - start)
        sequence.kv, sequence.kv_length, sequence.kv_capacity = cache.addresses, start, cache.capacity
        sequence.kv_in_int8 = cache.dtype is KVDtype.INT8
        self._library.write(self._model, self._head_matrix, sequence)
        cache.commit(sequence.written)

    def _check_form(self, cache: KVCache) -> None:
        if cache.form != self._kv_form:
            raise ValueError(f"a cache of {cache.form} for a model of {self._kv_form}")

    def logits(self, hidden: Tensor) -> Tensor:
        return self._library.multiply(self._head_matrix, hidden)

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
