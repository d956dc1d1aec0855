"""The forward pass of the llama family of decoders (llama, mistral, qwen2, qwen3) over a KV cache.

The eager one keeps the order and the roundings of transformers' modules, so that in bf16 the two agree
token for token. What differs is what surrounds them: no modules, no per-step set-up, fused projections,
and keys and values written in place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.cache import KVCache, read_kv, write_kv
from engine.models.format.decoder_config import DecoderConfig
from engine.quantization import EmbeddingLinear, Linear, fast_bf16_gemm
from engine.types import KVDtype

if TYPE_CHECKING:
    from engine.models.decoders.native_decoder import NativeDecoder


@dataclass(slots=True)
class DecoderLayer:
    """One layer's weights. ``qkv`` and ``gate_up`` are projections that share an input, joined."""

    input_norm: Tensor
    qkv: Linear
    q_norm: Tensor | None
    k_norm: Tensor | None
    o: Linear
    post_norm: Tensor
    gate_up: Linear
    down: Linear


class Decoder(ABC):
    """A model at one precision, ready to compute. Not thread-safe."""

    config: DecoderConfig
    device = torch.device("cpu")
    """Where it computes. Token ids and logits are on the CPU wherever that is."""
    invariant_rows = 1
    """Up to so many rows in one call, each is computed alike, to the last bit, whatever is computed beside it."""
    prefill_chunk = 512
    """Tokens computed between two looks at whether the run has been cancelled."""

    @abstractmethod
    def forward(self, ids: Tensor, cache: KVCache) -> Tensor:
        """Append ``ids`` ``[rows]`` to the cache; the final norm's output ``[rows, hidden]``."""

    def layer_by_layer(self, ids: Tensor, cache: KVCache) -> Iterator[Tensor]:
        """As :meth:`forward`, with something else between two layers where that can be: what there is after each,
        ``[rows, hidden]``, and in the end what :meth:`forward` returns."""
        yield self.forward(ids, cache)

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Normed hidden states ``[rows, hidden]`` -> fp32 logits ``[rows, vocab]``."""

    def new_cache(self, capacity: int, dtype: KVDtype = KVDtype.BF16, window: int | None = None) -> KVCache:
        """An empty KV cache for up to ``capacity`` tokens, or for any number of which a window is kept."""
        config = self.config
        rotation = None if window is None else torch.tensor(config.inv_freq, device=self.device)
        room = capacity if window is None else window
        return KVCache(config.n_layers, room, config.n_kv_heads, config.head_dim, self.device, dtype, rotation)

    @property
    def native(self) -> NativeDecoder | None:
        """What writes several tokens in one call; ``None`` where nothing can."""
        return None

    def native_for(self, rows: int) -> NativeDecoder | None:
        """What reads so many rows of one sequence beside other sequences' rows, and gives for each what this decoder
        gives it alone, to the last bit; ``None`` where nothing can."""
        return self.native

    def chunks(self, ids: Tensor, cache: KVCache) -> tuple[Tensor, ...]:
        """A prompt in the pieces that one pass reads."""
        pieces: tuple[Tensor, ...] = ids.split(min(self.prefill_chunk, cache.largest_claim))
        return pieces

    def read(self, ids: Tensor, cache: KVCache, cancelled: Callable[[], bool]) -> Tensor | None:
        """Compute a prompt in chunks and return the last token's hidden state, ``[1, hidden]``.

        ``None`` if cancelled between two chunks; the cache then holds the chunks done so far.
        """
        hidden = None
        for chunk in self.chunks(ids, cache):
            if cancelled():
                return None
            hidden = self.forward(chunk, cache)
        if hidden is None:
            raise ValueError("prefill needs at least one token")
        return hidden[-1:]

    def prefill(self, ids: Tensor, cache: KVCache, cancelled: Callable[[], bool]) -> Tensor | None:
        """As :meth:`read`; the next token's logits, fp32 ``[vocab]``."""
        hidden = self.read(ids, cache, cancelled)
        return None if hidden is None else self.logits(hidden)[0]

    def step(self, token_id: int, cache: KVCache) -> Tensor:
        """Append one token and return the next one's logits, fp32 ``[vocab]``."""
        return self.logits(self.forward(torch.tensor([token_id]), cache))[0]


Attend = Callable[[Tensor, Tensor, Tensor, Tensor, int | None], Tensor]
"""Queries ``[rows, heads, head_dim]``, the rows' own keys and values ``[rows, kv_heads, head_dim]``, a layer's cache
and its window -> ``[rows, heads * head_dim]``."""


class EagerDecoder(Decoder):
    """The forward pass as torch operations, each in the order and the roundings of transformers' modules."""

    def __init__(
        self,
        config: DecoderConfig,
        embedding: EmbeddingLinear,
        layers: list[DecoderLayer],
        norm: Tensor,
        head: EmbeddingLinear,
    ) -> None:
        self.config = config
        self.embedding = embedding
        self.layers = layers
        self.norm = norm
        self.head = head
        self.device = norm.device
        self._inv_freq = torch.tensor(config.inv_freq, device=self.device)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.head(hidden).float().cpu()

    def forward(self, ids: Tensor, cache: KVCache) -> Tensor:
        return _last(self.layer_by_layer(ids, cache))

    def layer_by_layer(self, ids: Tensor, cache: KVCache) -> Iterator[Tensor]:
        rows = ids.shape[0]
        start, end = cache.claim(rows)

        def attend(q: Tensor, keys: Tensor, values: Tensor, kv: Tensor, window: int | None) -> Tensor:
            write_kv(kv, start, keys, values)
            return _attend(q, read_kv(kv, end), window)

        positions = torch.arange(start, end, dtype=torch.float, device=self.device)
        yield from self._compute(ids.to(self.device), positions, cache.layers, attend)
        cache.commit(rows)

    def compute(self, ids: Tensor, positions: Tensor, layers: list[Tensor], attend: Attend) -> Tensor:
        """All layers over some rows.

        Args:
            ids: int64 ``[rows]``, on this decoder's device.
            positions: fp32 ``[rows]``.
            layers: each layer's keys and values, ``[capacity, 2, kv_heads, head_dim]``.
            attend: writes the rows' own keys and values, and attends.

        Returns:
            The final norm's output, ``[rows, hidden]``.
        """
        return _last(self._compute(ids, positions, layers, attend))

    def _compute(self, ids: Tensor, positions: Tensor, layers: list[Tensor], attend: Attend) -> Iterator[Tensor]:
        config = self.config
        rows = ids.shape[0]
        cos, sin = self._rotation(positions)
        n_rotated = config.n_heads + config.n_kv_heads
        x = self.embedding.rows(ids)
        for layer, kv, window in zip(self.layers, layers, config.windows, strict=True):
            qkv = layer.qkv(self._rms_norm(x, layer.input_norm)).view(rows, -1, config.head_dim)
            qk = qkv[:, :n_rotated]
            if layer.q_norm is not None and layer.k_norm is not None:
                q = self._rms_norm(qk[:, : config.n_heads], layer.q_norm)
                qk = torch.cat((q, self._rms_norm(qk[:, config.n_heads :], layer.k_norm)), dim=1)
            qk = _rotate(qk, cos, sin)
            attended = attend(qk[:, : config.n_heads], qk[:, config.n_heads :], qkv[:, n_rotated:], kv, window)
            x = x + layer.o(attended)
            gate, up = layer.gate_up(self._rms_norm(x, layer.post_norm)).chunk(2, dim=-1)
            x = x + layer.down(F.silu(gate) * up)
            yield x
        yield self._rms_norm(x, self.norm)

    def _rms_norm(self, x: Tensor, weight: Tensor) -> Tensor:
        h = x.float()
        h = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + self.config.norm_eps)
        return weight * h.to(x.dtype)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """RoPE's cosine, and its sine with the first half negated: bf16 ``[rows, 1, head_dim]``."""
        angles = positions[:, None] * self._inv_freq
        cos = angles.cos() * self.config.rope_scaling
        sin = angles.sin() * self.config.rope_scaling
        cos = torch.cat((cos, cos), dim=-1).to(torch.bfloat16)
        sin = torch.cat((-sin, sin), dim=-1).to(torch.bfloat16)
        return cos[:, None], sin[:, None]


def _last(hidden: Iterator[Tensor]) -> Tensor:
    for latest in hidden:  # noqa: B007 (the others are on the way to it)
        pass
    return latest


def _rotate(x: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """RoPE (arXiv:2104.09864) in the half-split form; swapping halves is a roll by half."""
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * signed_sin


def _attend(q: Tensor, kv: Tensor, window: int | None) -> Tensor:
    """Causal attention of the last rows over a sequence.

    Args:
        q: ``[rows, heads, head_dim]``, the last ``rows`` positions.
        kv: ``[length, 2, kv_heads, head_dim]``.
        window: how many positions a row sees, its own included; ``None`` for all.

    Returns:
        ``[rows, heads * head_dim]``.
    """
    rows, length = q.shape[0], kv.shape[0]
    if window is not None and length > window:
        first = max(0, length - rows - window + 1)
        kv = kv[first:]
    keys, values = kv.permute(1, 2, 0, 3).unbind(0)
    mask = None
    if rows > 1 and (rows < length or window is not None):
        seen = torch.arange(length - kv.shape[0], length, device=q.device)
        behind = torch.arange(length - rows, length, device=q.device)[:, None] - seen
        mask = behind >= 0 if window is None else (behind >= 0) & (behind < window)
    dtype = q.dtype if rows == 1 or q.device.type != "cpu" or fast_bf16_gemm() else torch.float
    out = F.scaled_dot_product_attention(
        q.transpose(0, 1)[None].to(dtype),
        keys[None].to(dtype),
        values[None].to(dtype),
        attn_mask=mask,
        is_causal=rows > 1 and mask is None,
        enable_gqa=q.shape[1] != keys.shape[0],
    )
    return out[0].transpose(0, 1).reshape(rows, -1).to(q.dtype)
