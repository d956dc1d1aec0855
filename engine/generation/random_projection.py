"""A hidden state in a few numbers, small enough to be kept with every answer."""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SIZE = 32
"""Numbers that stand for a hidden state."""


def random_projection(hidden: Tensor) -> tuple[float, ...]:
    """A fixed random projection of a hidden state ``[hidden]``, which is first brought to a root mean square of 1.

    Distances and what is linear in the state survive it nearly (Achlioptas, 2003), whatever the model and its width.
    """
    state = hidden.float().cpu()
    scale = state.square().mean().sqrt().clamp_min(1e-12)
    projected: list[float] = (_signs(len(state)) @ (state / scale) / SIZE**0.5).tolist()
    return tuple(projected)


@lru_cache(maxsize=8)
def _signs(width: int) -> Tensor:
    """+1 and −1, ``[SIZE, width]``: the same on every machine and in every version."""
    drawn = np.frombuffer(random.Random(0).randbytes(-(-SIZE * width // 8)), np.uint8)
    bits = np.unpackbits(drawn, bitorder="little", count=SIZE * width)
    return torch.from_numpy(2.0 * bits.astype(np.float32) - 1).view(SIZE, width)
