"""Keys and values as they are kept: in place, in 16 bits or in 8."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine.cache import KVCache, read_kv, write_kv
from engine.models.decoders.decoder import Decoder, EagerDecoder
from engine.serving.memory.pool import ModelPool
from engine.types import SINK_TOKENS, KVDtype, OptimizationConfig, Precision, RunConfig
from tests.conftest import SMALL
from tests.support.loading import load_model, open_model
from tests.support.near_ties import changed_choices

TEXT = "The keeper of the lighthouse wrote down the weather, the ships and the hour of every lamp he lit. " * 6


def decoder_at(models_dir: Path, precision: Precision) -> tuple[Decoder, torch.Tensor]:
    pool = ModelPool(models_dir)
    opened = open_model(pool, SMALL)
    config = RunConfig(model=SMALL, optimization=OptimizationConfig.at(precision))
    with torch.inference_mode():
        model = load_model(pool, config)
    return model.decoder, torch.tensor(opened.tokenizer.encode_document(TEXT))  # type: ignore[attr-defined]


@given(st.integers(0, 2**31), st.floats(1e-6, 1e4))
def test_eight_bits_keep_each_value_within_half_a_step_of_its_own_token_and_head(seed: int, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    keys, values = (size * torch.randn(3, 2, 16, generator=generator) for _ in range(2))
    values[1] = 0
    cache = KVCache(1, 8, 2, 16, dtype=KVDtype.INT8)
    write_kv(cache.layers[0], 2, keys, values)
    read = read_kv(cache.layers[0], 5)[2:].float()
    for wanted, got in ((keys, read[:, 0]), (values, read[:, 1])):
        step = wanted.abs().amax(dim=-1, keepdim=True) / 127
        # reading gives bf16, which adds its own rounding
        assert bool(((got - wanted).abs() <= 0.51 * step + wanted.abs() * 2**-8).all())


def test_sixteen_bits_are_read_where_they_lie() -> None:
    cache = KVCache(1, 8, 2, 16)
    keys, values = torch.randn(2, 3, 2, 16).to(torch.bfloat16)
    write_kv(cache.layers[0], 0, keys, values)
    read = read_kv(cache.layers[0], 3)
    assert read.data_ptr() == cache.layers[0].data_ptr()
    assert torch.equal(read[:, 0], keys)
    assert torch.equal(read[:, 1], values)


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT4])
def test_keys_and_values_in_eight_bits_take_about_half_and_choose_almost_as_before(
    models_dir: Path, precision: Precision
) -> None:
    decoder, ids = decoder_at(models_dir, precision)
    logits, sizes = {}, {}
    with torch.inference_mode():
        for dtype in KVDtype:
            cache = decoder.new_cache(len(ids), dtype)
            logits[dtype] = decoder.logits(decoder.forward(ids[:100], cache)).log_softmax(-1)
            assert cache.allocated_bytes == decoder.config.kv_bytes(len(ids), dtype)
            sizes[dtype] = cache.allocated_bytes
    assert sizes[KVDtype.INT8] == pytest.approx(sizes[KVDtype.BF16] * (64 + 4) / (2 * 64))
    exact, lossy = logits[KVDtype.BF16], logits[KVDtype.INT8]
    divergence = (exact.exp() * (exact - lossy)).sum(-1)
    assert 0 < float(divergence.mean()) < 0.02
    assert bool((changed_choices(exact, lossy) < 0.75).all())  # nats below the best; how many is rounding's to say


def test_rows_are_the_same_bits_in_eight_bits_too_however_they_come(models_dir: Path) -> None:
    decoder, ids = decoder_at(models_dir, Precision.INT4)
    if decoder.invariant_rows < 40:
        pytest.skip("without the kernels of our own rows are not computed alike")
    with torch.inference_mode():
        whole = decoder.forward(ids[:40], decoder.new_cache(40, KVDtype.INT8))
        cache = decoder.new_cache(40, KVDtype.INT8)
        parts = [decoder.forward(part, cache) for part in ids[:40].split([1, 8, 3, 28])]
    assert torch.equal(whole, torch.cat(parts))


class _Allocations(TorchDispatchMode):
    """Bytes of new memory that operations ask for."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        known = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in known:
                self.nbytes += tensor.nbytes
        return result


def test_a_token_after_four_thousand_copies_no_cache(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step allocates grows by its attention scores at most, far less than by one layer of the cache. Of what
    our own kernels allocate torch sees nothing."""
    monkeypatch.setattr("engine.models.decoders.weights.library", lambda: None)
    decoder, ids = decoder_at(models_dir, Precision.BF16)
    assert isinstance(decoder, EagerDecoder)
    asked = {}
    cache = decoder.new_cache(4100)
    for layer in cache.layers:
        layer.normal_()
    places = [layer.data_ptr() for layer in cache.layers]
    for length in (64, 4096):
        cache.length = length
        with torch.inference_mode(), _Allocations() as allocations:
            decoder.forward(ids[:1], cache)
        asked[length] = allocations.nbytes
        assert cache.length == length + 1
    a_layer = cache.layers[0][:4096].nbytes
    assert asked[4096] - asked[64] < a_layer
    assert [layer.data_ptr() for layer in cache.layers] == places


def test_the_kernels_of_our_own_write_a_token_into_the_cache_where_it_is(models_dir: Path) -> None:
    decoder, ids = decoder_at(models_dir, Precision.INT4)
    cache = decoder.new_cache(4100)
    for layer in cache.layers:
        layer.normal_()
    before = [layer.clone() for layer in cache.layers]
    cache.length = 4096
    with torch.inference_mode():
        decoder.forward(ids[:1], cache)
    for layer, old in zip(cache.layers, before, strict=True):
        assert torch.equal(layer[:4096], old[:4096])
        assert not torch.equal(layer[4096], old[4096])
        assert torch.equal(layer[4097:], old[4097:])


# --- sliding window ----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT4])
def test_what_stays_in_a_window_stands_where_it_would_have_been_computed(
    models_dir: Path, precision: Precision
) -> None:
    """The first layer's keys and values depend on a token and its place alone: a shorter text has the same."""
    decoder, ids = decoder_at(models_dir, precision)
    window = decoder.new_cache(0, window=80)
    with torch.inference_mode():
        decoder.prefill(ids[:80], window, lambda: False)
        assert (window.length, window.dropped) == (80, 0)
        decoder.step(int(ids[80]), window)
        gone = window.dropped
        assert (gone, window.tokens) == ((80 - SINK_TOKENS) // 4, 81)
        shorter = decoder.new_cache(80)
        decoder.forward(torch.cat([ids[:SINK_TOKENS], ids[SINK_TOKENS + gone : 81]]), shorter)
    assert window.length == shorter.length
    wanted, got = (cache.layers[0][: window.length].float() for cache in (shorter, window))
    assert torch.allclose(got, wanted, rtol=2**-6, atol=2**-6 * float(wanted.abs().max()))
    assert torch.equal(got[:SINK_TOKENS], wanted[:SINK_TOKENS])


@pytest.mark.parametrize("dtype", list(KVDtype))
def test_a_window_that_is_never_full_changes_nothing(models_dir: Path, dtype: KVDtype) -> None:
    decoder, ids = decoder_at(models_dir, Precision.INT4)
    if decoder.invariant_rows < 60:
        pytest.skip("without the kernels of our own rows are not computed alike")
    with torch.inference_mode():
        plain = decoder.prefill(ids[:60], decoder.new_cache(60, dtype), lambda: False)
        windowed = decoder.prefill(ids[:60], decoder.new_cache(0, dtype, window=128), lambda: False)
    assert plain is not None
    assert windowed is not None
    assert torch.equal(plain, windowed)


def test_what_has_left_a_window_cannot_be_taken_over() -> None:
    full = KVCache(1, 20, 1, 4, rotation=torch.ones(2))
    full.claim(full.largest_claim)
    full.commit(20)
    full.claim(1)
    full.commit(1)
    assert full.dropped == 4
    with pytest.raises(ValueError, match="cannot take"):
        KVCache(1, 20, 1, 4, rotation=torch.ones(2)).copy_prefix(full, 6)
    fresh = KVCache(1, 20, 1, 4, rotation=torch.ones(2))
    fresh.copy_prefix(full, 10)
    assert (fresh.length, fresh.dropped, fresh.tokens) == (6, 4, 10)
