"""The KV cache of one sequence: room for all of it from the start, which takes memory as it is written, is truncated
without copying, and gives back what is not in use."""

from __future__ import annotations

from ctypes import c_void_p
from typing import assert_never

import torch
from torch import Tensor

from engine.machine.huge_pages import HUGE
from engine.machine.lazy_memory import LazyMemory, address_space_is_free, to_pages
from engine.types import SINK_TOKENS, KVDtype

CHUNK = 256
"""Positions whose memory a sequence is granted, and charged, at once as it grows."""
SCALE_BYTES = 4


class KVCache:
    """Keys and values of every layer, position first.

    ``layers[i]`` is bf16 ``[capacity, 2, kv_heads, head_dim]`` (keys, then values), so the used part
    is one contiguous slice and growing a sequence copies nothing. In 8 bits it is int8
    ``[capacity, 2, kv_heads, head_dim + 4]``: the codes of a token and head, then the bytes of their fp32 scale.

    Where address space costs nothing, capacity does not either: memory is taken, and charged, in chunks as they are
    begun. On a GPU, or under a limit on address space, all of it is taken at once.
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
        self.kept_tokens = 0
        """First positions that are kept for other requests too, and charged to what is kept: nobody may give them
        back."""
        width, kind = _kept_as(head_dim, dtype)
        self._position_bytes = 2 * kv_heads * width * kind.itemsize
        self.form = (n_layers, kv_heads, head_dim, "cpu" if device is None else device.type)
        """Layers, key-value heads and their dimensions, and the memory they are in: what a model must share."""
        shape = (n_layers, capacity, 2, kv_heads, width)
        self._layer_bytes = to_pages(capacity * self._position_bytes)
        self._layer_begins = range(0, n_layers * self._layer_bytes, self._layer_bytes)
        self._lazy = LazyMemory(n_layers * self._layer_bytes) if takes_by_use(device) else None
        self.layers: list[Tensor]
        if self._lazy:
            row = kv_heads * width
            strides = (self._layer_bytes // kind.itemsize, 2 * row, row, width, 1)
            self.layers = list(self._lazy.bytes.view(kind).as_strided(shape, strides))
        else:
            self.layers = [torch.empty(shape[1:], dtype=kind, device=device) for _ in range(n_layers)]
        self.granted = 0 if self._lazy else capacity
        """Positions whose memory is charged: whole chunks, or what a sequence was cut to."""
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
        self.grant(self.length + rows)
        return self.length, self.length + rows

    def check_room(self, rows: int) -> None:
        """See that ``rows`` could be claimed, and change nothing.

        Raises:
            ValueError: the capacity does not reach that far.
        """
        slides_on = self.slides and self.capacity == self._made_for and rows <= self.largest_claim
        if self.length + rows > self.capacity and not slides_on:
            raise ValueError(f"{self.length + rows} positions asked of a cache of {self.capacity}")

    def grant(self, positions: int) -> None:
        """Charge memory for so many positions, and for the rest of the last chunk of them."""
        before, self.granted = self.granted, max(self.granted, self._in_chunks(positions))
        if self._lazy and (self.granted - before) * self._position_bytes >= HUGE:
            for begin in self._layer_begins:
                self._lazy.expect(begin + before * self._position_bytes, begin + self.granted * self._position_bytes)

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
        """Give back the memory that is not in use, layer by layer, so that hardly more is held meanwhile.

        Where all of it was taken at once, the room is gone with it; a sliding window that was not full can only be
        copied from then: it has no room left to slide in.
        """
        if self._lazy:
            self._cut(self.length)
            return
        self.capacity = self.granted = self.length  # first: every layer has that much, wherever memory may end
        for i, layer in enumerate(self.layers):
            if len(layer) > self.length:
                self.layers[i] = layer[: self.length].clone()
                self.addresses[i] = self.layers[i].data_ptr()

    def give_back(self) -> None:
        """Forget everything that is not kept for others and give its memory back; what is written later takes memory
        anew.

        Raises:
            ValueError: this is a sliding window: what has left it could not be read again.
        """
        if self.slides:
            raise ValueError("a sliding window cannot be read again")
        self.length = self.kept_tokens
        if self._lazy:
            self._cut(self.length)
        elif not self.length:
            self.granted = 0
            for i, layer in enumerate(self.layers):
                self.layers[i] = torch.empty_like(layer)
                self.addresses[i] = self.layers[i].data_ptr()

    def _cut(self, positions: int) -> None:
        """Give back all memory beyond the first positions."""
        assert self._lazy is not None
        self.granted = positions
        for begin in self._layer_begins:
            self._lazy.give_back(begin + positions * self._position_bytes, begin + self._layer_bytes)

    def _in_chunks(self, positions: int) -> int:
        chunk = CHUNK if self._lazy else self.capacity
        return min(-(-positions // max(chunk, 1)) * chunk, self.capacity)

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
        self.grant(length)
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
    def position_bytes(self) -> int:
        """Bytes of one position in all layers."""
        return len(self.layers) * self._position_bytes

    @property
    def by_use(self) -> bool:
        """Whether memory is taken as it is used; else all of it was taken when the cache was made."""
        return self._lazy is not None

    @property
    def allocated_bytes(self) -> int:
        """What is charged for it: of all positions that were granted, used or not."""
        return self.granted * self.position_bytes

    @property
    def own_bytes(self) -> int:
        """Of what is charged, what is not charged to those that are kept."""
        return (self.granted - min(self.kept_tokens, self.granted)) * self.position_bytes

    def growth_bytes(self, positions: int) -> int:
        """What :meth:`grant` would charge beyond what is charged already."""
        return max(0, self._in_chunks(positions) - self.granted) * self.position_bytes

    @property
    def used_bytes(self) -> int:
        """Bytes of the positions in use."""
        return self.length * self.position_bytes

    @staticmethod
    def estimate_bytes(
        n_layers: int, capacity: int, kv_heads: int, head_dim: int, dtype: KVDtype = KVDtype.BF16
    ) -> int:
        """What a cache of that capacity takes."""
        width, kind = _kept_as(head_dim, dtype)
        return 2 * n_layers * capacity * kv_heads * width * kind.itemsize


def takes_by_use(device: torch.device | None = None) -> bool:
    """Whether a cache on a device takes memory as it is used."""
    return (device is None or device.type == "cpu") and address_space_is_free()


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
