"""The KV cache of one sequence: allocated once, written in place, truncated without copying."""

from __future__ import annotations

from ctypes import c_void_p

import torch
from torch import Tensor

from engine.types import KVDtype

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
    ) -> None:
        self.capacity = capacity
        self.length = 0
        self.dtype = dtype
        width, kind = (head_dim, torch.bfloat16) if dtype is KVDtype.BF16 else (head_dim + SCALE_BYTES, torch.int8)
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
        end = self.length + rows
        if end > self.capacity:
            raise ValueError(f"{end} positions asked of a cache of {self.capacity}")
        return self.length, end

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

    def copy_prefix(self, other: KVCache, length: int) -> None:
        """Take over the first positions of another cache of the same shape in place of one's own.

        Raises:
            ValueError: the other holds fewer, or this one has no room for so many.
        """
        if length > other.length or length > self.capacity:
            raise ValueError(f"cannot take {length} of {other.length} positions into a cache of {self.capacity}")
        for mine, its in zip(self.layers, other.layers, strict=True):
            mine[:length] = its[:length]
        self.length = length

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
        vector = 2 * head_dim if dtype is KVDtype.BF16 else head_dim + SCALE_BYTES
        return 2 * n_layers * capacity * kv_heads * vector


def keep(layer: Tensor, start: int, keys: Tensor, values: Tensor) -> None:
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


def kept(layer: Tensor, length: int) -> Tensor:
    """The first positions of a layer of a cache, bf16 ``[length, 2, kv_heads, head_dim]``; of one in 8 bits a copy."""
    rows = layer[:length]
    if layer.dtype is not torch.int8:
        return rows
    scale = rows[..., -SCALE_BYTES:].contiguous().view(torch.float)
    return (rows[..., :-SCALE_BYTES].float() * scale).to(torch.bfloat16)
