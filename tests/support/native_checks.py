"""Calls of the kernels as nobody should make them."""

from __future__ import annotations

import ctypes
from typing import Any, cast

import torch

from engine.models.decoders.native_decoder import NativeDecoder
from engine.native.kernels import Library, Segment, library

DIMENSIONS = ("n_layers", "hidden", "inner", "n_heads", "n_kv_heads", "head_dim")
MATRICES = ("qkv", "o", "gate_up", "down")
MOST = 2**31 - 1


def kernels() -> Library:
    """Those of this machine."""
    found = library()
    assert found is not None
    return found


def status_of(decoder: NativeDecoder, **changed: Any) -> int:
    """What the C function returns for a call of two rows into a cache of eight and one into another, some of the
    arguments changed, or of the members of the first segment."""
    caches, ids = [decoder.new_cache(8) for _ in range(2)], torch.tensor([1, 2, 3])
    hidden = torch.zeros(3, 128)
    segments = (Segment * 2)(*(Segment(rows, 0, 8, c.addresses, 0) for rows, c in zip((2, 1), caches, strict=True)))
    for name in [name for name, _ in Segment._fields_ if name in changed]:
        setattr(segments[0], name, changed.pop(name))
    arguments = {
        "model": ctypes.byref(decoder._model),
        "ids": ids.data_ptr(),
        "segments": segments,
        "count": 2,
        "hidden": hidden.data_ptr(),
        "threads": 1,
    }
    return cast(int, kernels()._lib.gearbox_forward(*(arguments | changed).values()))
