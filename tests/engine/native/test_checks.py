"""What the kernels refuse of a pass: whatever would make them read or write outside of what they were given."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cache import KVCache
from engine.models.decoders.native_decoder import NativeDecoder
from engine.native.structures import REFUSALS
from tests.engine.native.test_kernels import needs_kernels
from tests.support.native_checks import MOST, kernels, status_of


@needs_kernels
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"start": 6}, None),
        ({"model": None}, "address is missing"),
        ({"ids": None}, "address is missing"),
        ({"kv": None}, "address is missing"),
        pytest.param({"kv": (ctypes.c_void_p * 2)()}, "address is missing", id="no layer has KV"),
        ({"hidden": None}, "address is missing"),
        ({"segments": None}, "address is missing"),
        ({"count": 0}, "no sequences"),
        ({"count": -1}, "no sequences"),
        ({"count": MOST}, "no sequences"),
        ({"rows": 2**31 - 65, "capacity": 2**31 - 65}, "no rows, or too many"),
        ({"rows": 0}, "no rows"),
        ({"rows": -1}, "no rows"),
        ({"rows": -(2**63)}, "no rows"),
        ({"rows": 9}, "beyond the KV cache"),
        ({"rows": 2**63 - 1}, "beyond the KV cache"),
        ({"start": -1}, "beyond the KV cache"),
        ({"start": 7}, "beyond the KV cache"),
        ({"start": 2**63 - 1}, "beyond the KV cache"),
        ({"capacity": 0}, "beyond the KV cache"),
        ({"capacity": 2**40}, "beyond the KV cache"),
        ({"threads": 0}, "threads"),
        ({"threads": -3}, "threads"),
        ({"threads": MOST}, "threads"),
    ],
    ids=str,
)
def test_a_pass_is_computed_or_refused_with_the_reason(
    decoder: NativeDecoder, changed: dict[str, Any], says: str | None
) -> None:
    status = status_of(decoder, **changed)
    assert (says is None) == (status == 0)
    if says:
        assert says in REFUSALS[status]


@needs_kernels
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 383), min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.inference_mode()
def test_token_ids_are_looked_up_only_inside_the_vocabulary(decoder: NativeDecoder, ids: list[int]) -> None:
    cache = decoder.new_cache(8)
    if all(0 <= token < 384 for token in ids):
        decoder.forward(torch.tensor(ids), cache)
        assert cache.length == len(ids)
        return
    with pytest.raises(ValueError, match="outside the model's vocabulary"):
        decoder.forward(torch.tensor(ids), cache)
    assert cache.length == 0
    with pytest.raises(ValueError, match="outside the model's vocabulary"):
        kernels().lookup(decoder._model.embedding, torch.tensor(ids))


@needs_kernels
@torch.inference_mode()
def test_tensors_of_another_type_or_shape_are_refused(decoder: NativeDecoder) -> None:
    cache = decoder.new_cache(8)
    with pytest.raises(ValueError, match=r"torch\.int64"):
        decoder.forward(torch.tensor([1, 2], dtype=torch.int32), cache)
    with pytest.raises(ValueError, match="no rows"):
        decoder.forward(torch.empty(0, dtype=torch.int64), cache)
    for wrong in (torch.zeros(1, 64), torch.zeros(1, 128, dtype=torch.bfloat16), torch.zeros(128)):
        with pytest.raises((ValueError, IndexError)):
            decoder.logits(wrong)
    with pytest.raises(ValueError, match="strides"):
        kernels().summarize(torch.zeros(20)[::2])
    with pytest.raises(ValueError, match="no rows"):
        kernels().summarize(torch.zeros(0))


@needs_kernels
@pytest.mark.parametrize("form", [(1, 2, 32), (2, 1, 32), (2, 2, 16), (3, 2, 32)], ids=str)
def test_the_cache_of_another_model_is_refused(decoder: NativeDecoder, form: tuple[int, int, int]) -> None:
    n_layers, kv_heads, head_dim = form
    with pytest.raises(ValueError, match="a cache of"):
        decoder.forward(torch.tensor([1]), KVCache(n_layers, 8, kv_heads, head_dim))
