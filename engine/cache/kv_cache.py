"""The KV cache of one sequence: allocated once, written in place, truncated without copying, and cut to size when it is
kept."""

from __future__ import annotations

from ctypes import c_void_p
from typing import assert_never

import torch
from torch import Tensor

from engine.types import SINK_TOKENS, KVDtype

SCALE_BYTES = 4


class KVCache:
    """Keys and values of every layer, position first.

    ``layers[i]`` is bf16 ``[capacity, 2, kv_heads, head_dim]`` (keys, then values), so the used part
    is one contiguous slice and growing a sequence copies nothing. In 8 bits it is int8
    ``[capacity, 2, kv_heads, head_dim + 4]``: the codes of a token and head, then the bytes of their fp32 scale.
    """

    def __init__(
        self,
        n_layers: int,
        capacity: int,
        kv_heads: int,
        head_dim: int,
        device: torch.device | None = None,
        dtype: KVDtype = KVDtype.BF16,
        rotation: Tensor | None = None,
    ) -> None:
        """
        Args:
            n_layers, kv_heads, head_dim: the decoder's shape.
            capacity: positions there is room for.
            device: whose memory they take; by default the machine's own.
            dtype: how they are kept.
            rotation: RoPE's inverse frequencies, fp32 ``[head_dim / 2]``, make this a sliding window: when it is
                full, the oldest tokens but for the first few leave, and the rest moves down, its keys turned back
                by as many positions. ``None`` refuses what has no room.
        """
        self.capacity = capacity
        self.length = 0
        self.dropped = 0
        """Tokens that have left the window."""
        self._rotation = rotation
        self._made_for = capacity
        self.dtype = dtype
        self.is_kept = False
        """Whether it is kept for other requests too: then nobody may give it back."""
        width, kind = _kept_as(head_dim, dtype)
        self.form = (n_layers, kv_heads, head_dim, "cpu" if device is None else device.type)
        """Layers, key-value heads and their dimensions, and the memory they are in: what a model must share."""
        self.layers: list[Tensor] = [
            torch.empty((capacity, 2, kv_heads, width), dtype=kind, device=device) for _ in range(n_layers)
        ]
        self.addresses = (c_void_p * n_layers)(*(layer.data_ptr() for layer in self.layers))
        """Where the layers begin, for kernels of our own."""

    def claim(self, rows: int) -> tuple[int, int]:
        """Positions ``[start, end)`` for ``rows`` new tokens. They count only after :meth:`commit`.

        Raises:
            ValueError: the capacity does not reach that far.
        """
        self.check_room(rows)
        if self.length + rows > self.capacity:
            self._slide(max(self.length + rows - self.capacity, (self.capacity - SINK_TOKENS) // 4))
        return self.length, self.length + rows

    def check_room(self, rows: int) -> None:
        """See that ``rows`` could be claimed, and change nothing.

        Raises:
            ValueError: the capacity does not reach that far.
        """
        slides_on = self.slides and self.capacity == self._made_for and rows <= self.largest_claim
        if self.length + rows > self.capacity and not slides_on:
            raise ValueError(f"{self.length + rows} positions asked of a cache of {self.capacity}")

    def commit(self, rows: int) -> None:
        """The claimed rows of every layer have been written."""
        self.length += rows

    def truncate(self, length: int) -> None:
        """Forget everything from ``length`` on.

        Raises:
            ValueError: nothing that long is held.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot truncate {self.length} positions to {length}")
        self.length = length

    def shrink(self) -> None:
        """Give back the room that is not in use, layer by layer, so that hardly more is held meanwhile.

        A sliding window that was not full can only be copied from then: it has no room left to slide in.
        """
        self.capacity = self.length  # first: every layer has that much, wherever memory may end
        for i, layer in enumerate(self.layers):
            if len(layer) > self.length:
                self.layers[i] = layer[: self.length].clone()
                self.addresses[i] = self.layers[i].data_ptr()

    def give_back(self) -> None:
        """Forget everything and give its memory back; what is written later takes memory anew.

        Raises:
            ValueError: this is a sliding window: what has left it could not be read again.
        """
        if self.slides:
            raise ValueError("a sliding window cannot be read again")
        self.length = 0
        for i, layer in enumerate(self.layers):
            self.layers[i] = torch.empty_like(layer)
            self.addresses[i] = self.layers[i].data_ptr()

    @property
    def tokens(self) -> int:
        """Tokens of the text so far, those that have left the window included."""
        return self.length + self.dropped

    @property
    def slides(self) -> bool:
        """Whether this is a sliding window."""
        return self._rotation is not None

    @property
    def uncut_tokens(self) -> int:
        """First tokens that cannot be parted: of those that left a window nothing can be taken back."""
        return self.dropped + SINK_TOKENS if self.dropped else 0

    @property
    def largest_claim(self) -> int:
        """Rows that can be claimed at once; in a sliding window only as many as leave half of it to look back on."""
        return (self.capacity - SINK_TOKENS) // 2 if self.slides else self.capacity

    def copy_prefix(self, other: KVCache, tokens: int) -> None:
        """Take over what another cache of the same shape holds of the first tokens, in place of one's own.

        Raises:
            ValueError: the other holds fewer or has let some of them go, or this one has no room for so many.
        """
        length = tokens - other.dropped
        if tokens < other.uncut_tokens or length > min(other.length, self.capacity):
            raise ValueError(f"cannot take {length} of {other.length} positions into a cache of {self.capacity}")
        for mine, its in zip(self.layers, other.layers, strict=True):
            mine[:length] = its[:length]
        self.length, self.dropped = length, other.dropped

    def _slide(self, count: int) -> None:
        """Let ``count`` tokens after the sinks go, and move the rest down to where they stood."""
        assert self._rotation is not None
        angles = count * self._rotation
        cos, sin = angles.cos(), angles.sin()
        for layer in self.layers:
            rest = read_kv(layer, self.length)[SINK_TOKENS + count :].float()
            a, b = rest[:, 0].chunk(2, dim=-1)
            keys = torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)
            write_kv(layer, SINK_TOKENS, keys.to(torch.bfloat16), rest[:, 1].to(torch.bfloat16))
        self.length -= count
        self.dropped += count

    @property
    def allocated_bytes(self) -> int:
        """Bytes of all positions, used or not."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def used_bytes(self) -> int:
        """Bytes of the positions in use."""
        return sum(layer[: self.length].nbytes for layer in self.layers)

    @staticmethod
    def estimate_bytes(
        n_layers: int, capacity: int, kv_heads: int, head_dim: int, dtype: KVDtype = KVDtype.BF16
    ) -> int:
        """What a cache of that capacity takes."""
        width, kind = _kept_as(head_dim, dtype)
        return 2 * n_layers * capacity * kv_heads * width * kind.itemsize


def _kept_as(head_dim: int, dtype: KVDtype) -> tuple[int, torch.dtype]:
    """Elements of a key or a value, and their type."""
    match dtype:
        case KVDtype.BF16:
            return head_dim, torch.bfloat16
        case KVDtype.INT8:
            return head_dim + SCALE_BYTES, torch.int8
        case _:
            assert_never(dtype)


def write_kv(layer: Tensor, start: int, keys: Tensor, values: Tensor) -> None:
    """Write rows of keys and values, ``[rows, kv_heads, head_dim]`` each, into a layer of a cache."""
    rows = layer[start : start + len(keys)]
    if layer.dtype is not torch.int8:
        rows[:, 0] = keys
        rows[:, 1] = values
        return
    both = torch.stack([keys, values], dim=1).float()
    scale = both.abs().amax(dim=-1, keepdim=True) / 127
    rows[..., :-SCALE_BYTES] = (both / scale.clamp_min(1e-30)).round().to(torch.int8)
    rows[..., -SCALE_BYTES:] = scale.view(torch.int8)


def read_kv(layer: Tensor, length: int) -> Tensor:
    """The first positions of a layer of a cache, bf16 ``[length, 2, kv_heads, head_dim]``; of one in 8 bits a copy."""
    rows = layer[:length]
    if layer.dtype is not torch.int8:
        return rows
    scale = rows[..., -SCALE_BYTES:].contiguous().view(torch.float)
    return (rows[..., :-SCALE_BYTES].float() * scale).to(torch.bfloat16)
