"""The forward pass in one call of the kernels of our own."""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from engine.cache import KVCache
from engine.models.decoder import Decoder
from engine.models.decoder_config import DecoderConfig
from engine.native.kernels import Layer, Library, Matrix, Model
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
        """
        self.config = config
        self.head: EmbeddingLinear = modules.get("head", modules["embedding"])  # type: ignore[assignment]
        self._library = library
        self._modules = modules
        # addresses of these go into the structures, so they live as long as the decoder
        self._norms = {name: norm.float() for name, norm in norms.items()}
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
            self._inv_freq.data_ptr(),
            self._norms["norm"].data_ptr(),
            self._layers,
            self._matrix("embedding"),
        )
        self._head_matrix = self._matrix("head" if "head" in modules else "embedding")

    def forward(self, ids: Tensor, cache: KVCache) -> Tensor:
        rows = ids.shape[0]
        start, _ = cache.claim(rows)
        hidden = torch.empty((rows, self.config.hidden_size))
        self._library.forward(
            self._model,
            ids.contiguous(),
            start,
            cache.addresses,
            hidden,
            kv_in_int8=cache.dtype is KVDtype.INT8,
        )
        cache.commit(rows)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        return self._library.multiply(self._head_matrix, hidden)

    def _layer(self, i: int) -> Layer:
        return Layer(
            self._norm(f"layers.{i}.input_norm"),
            self._norm(f"layers.{i}.post_norm"),
            self._norm(f"layers.{i}.q_norm"),
            self._norm(f"layers.{i}.k_norm"),
            self._matrix(f"layers.{i}.qkv"),
            self._matrix(f"layers.{i}.o"),
            self._matrix(f"layers.{i}.gate_up"),
            self._matrix(f"layers.{i}.down"),
            self.config.windows[i] or 0,
        )

    def _norm(self, name: str) -> int | None:
        norm = self._norms.get(name)
        return None if norm is None else norm.data_ptr()

    def _matrix(self, name: str) -> Matrix:
        module = self._modules[name]
        if not isinstance(module, NativeLinear):
            raise TypeError(f"{name} is not in the kernels' own layout")
        return module.matrix
