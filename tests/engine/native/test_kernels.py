"""The kernels of our own: against transformers' modules, row by row against many at once, and without a compiler."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from engine.models.decoders.decoder import Decoder, DecoderConfig, EagerDecoder
from engine.models.decoders.native_decoder import NativeDecoder
from engine.models.decoders.weights import load_decoder
from engine.models.quantized.stored_weights import StoredWeights
from engine.native import build, build_in_background
from engine.native.compilation import why_not
from engine.native.kernels import library
from engine.quantization import Scheme
from engine.quantization.bf16 import NativeBf16Linear
from engine.types import Precision
from tests.engine.models.test_decoder import chunked_logits, load_tiny
from tests.support.tiny import FAMILIES, LLAMA3_ROPE, make_tiny_checkpoint

QUANTIZED = [Precision.INT8, Precision.INT4, Precision.NF4]
OURS = [Precision.BF16, *QUANTIZED]
UNQUANTIZED = Scheme(NativeBf16Linear, NativeBf16Linear, NativeBf16Linear, "gearbox", native=True)

needs_kernels = pytest.mark.skipif(library() is None, reason=why_not() or "the kernels were not built")


def test_the_kernels_are_there_wherever_they_can_be() -> None:
    """Else every test below would be passed over in silence."""
    assert (library() is None) == (why_not() is not None)


def row_errors(got: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (got - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp_min(1e-6)


@needs_kernels
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"tie_word_embeddings": True},
        {"num_key_value_heads": 1},
        {"rope_parameters": LLAMA3_ROPE},
        {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 1},
    ],
    ids=lambda o: ",".join(o) or "plain",
)
@torch.inference_mode()
def test_the_forward_pass_is_transformers(
    tmp_path: Path, family: Any, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the weights in 16 bits, only the rounding of keys and values tells it from a model in fp32."""
    monkeypatch.setattr("engine.models.decoders.weights.scheme_of", lambda precision, native: UNQUANTIZED)
    if family == "llama" and "sliding_window" in overrides:
        pytest.skip("llama has no windows")
    folder = make_tiny_checkpoint(tmp_path, family, **{"intermediate_size": 108, "vocab_size": 389, **overrides})
    decoder = load_tiny(folder, Precision.INT8)
    assert isinstance(decoder, NativeDecoder)
    ids = torch.randint(0, 256, (70,), generator=torch.Generator().manual_seed(1))
    wanted = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids[None]).logits[0]
    errors = row_errors(chunked_logits(decoder, ids, [70]), wanted)
    assert errors.mean() < 0.008
    assert errors.max() < 0.02


@needs_kernels
@pytest.mark.parametrize("precision", QUANTIZED)
@torch.inference_mode()
def test_logits_stay_near_the_eager_decoder(tmp_path: Path, precision: Precision, monkeypatch: Any) -> None:
    """The same precision by torch's kernels: other roundings, the same weights."""
    folder = make_tiny_checkpoint(tmp_path, "llama", hidden_size=128, intermediate_size=256)
    native = load_tiny(folder, precision)
    monkeypatch.setattr("engine.models.decoders.weights.library", lambda: None)
    eager = load_tiny(folder, precision)
    assert isinstance(native, NativeDecoder)
    assert isinstance(eager, EagerDecoder)
    ids = torch.arange(40) * 5 % 256
    assert row_errors(chunked_logits(native, ids, [40]), chunked_logits(eager, ids, [40])).mean() < 0.05


@pytest.fixture(scope="module", params=OURS, ids=str)
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "qwen3", hidden_size=128, intermediate_size=256)
    return load_tiny(folder, request.param)


@needs_kernels
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
@torch.inference_mode()
def test_a_row_does_not_depend_on_its_neighbours(decoder: Decoder, cuts: list[int], threads: int, seed: int) -> None:
    """Any cut into chunks, on any number of threads, gives every row bit for bit."""
    ids = torch.randint(0, 256, (sum(cuts),), generator=torch.Generator().manual_seed(seed))
    wanted = chunked_logits(decoder, ids, [1] * len(ids))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert torch.equal(chunked_logits(decoder, ids, cuts), wanted)
    finally:
        torch.set_num_threads(before)


@needs_kernels
@torch.inference_mode()
def test_rejected_rows_leave_no_trace(decoder: Decoder) -> None:
    """Cut back after rows that were not kept, the cache continues as if they had never been."""
    ids = torch.arange(30) * 7 % 256
    fresh, reused = decoder.new_cache(40), decoder.new_cache(40)
    wanted = decoder.forward(ids, fresh)[-5:]
    decoder.forward(torch.cat([ids[:25], torch.tensor([1, 2, 3])]), reused)
    reused.truncate(25)
    assert torch.equal(decoder.forward(ids[25:], reused), wanted)


def test_without_a_compiler_torch_does_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.native.compilation._BUILT", tmp_path / "built")
    monkeypatch.setattr("engine.native.compilation._library_path", lambda: tmp_path / "built" / "kernels.so")
    monkeypatch.setattr("engine.native.compilation._compiler", lambda: None)
    monkeypatch.setattr("engine.native.kernels._loaded", None)
    assert "compiler" in (why_not() or "")
    assert build() is None
    build_in_background()
    assert library() is None
    folder = make_tiny_checkpoint(tmp_path / "model", "llama")
    assert isinstance(load_tiny(folder, Precision.INT4), EagerDecoder)


def test_a_compiler_that_fails_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.native.compilation._BUILT", tmp_path / "built")
    monkeypatch.setattr("engine.native.compilation._library_path", lambda: tmp_path / "built" / "kernels.so")
    monkeypatch.setattr("engine.native.compilation._compiler", lambda: "false")
    monkeypatch.setattr("engine.native.compilation.why_not", lambda: None)
    monkeypatch.setattr("engine.native.kernels._loaded", None)
    assert build() is None
    assert [path.name for path in (tmp_path / "built").iterdir() if path.name != "lock"] == []
    folder = make_tiny_checkpoint(tmp_path / "model", "llama")
    config = DecoderConfig.from_hf(AutoConfig.from_pretrained(folder))
    weights = partial(StoredWeights, "tiny", sorted(folder.glob("*.safetensors")), config.tensors())
    loaded = load_decoder(config, weights, Precision.INT4, tmp_path, lambda _: None, lambda: None)
    assert isinstance(loaded.decoder, EagerDecoder)
    assert loaded.kernel == "torch int4pack", "what a run says has multiplied"


@needs_kernels
def test_a_head_of_an_unusual_width_is_left_to_torch(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path, "llama", head_dim=24)
    decoder = load_tiny(folder, Precision.INT4)
    assert isinstance(decoder, EagerDecoder)


@needs_kernels
def test_matrices_in_sixteen_bits_are_named(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path, "llama", intermediate_size=100)
    config = DecoderConfig.from_hf(AutoConfig.from_pretrained(folder))
    weights = partial(StoredWeights, "tiny", sorted(folder.glob("*.safetensors")), config.tensors())
    loaded = load_decoder(config, weights, Precision.INT4, folder / "packed", lambda _: None, lambda: None)
    assert loaded.kernel == "gearbox"
    assert set(loaded.fallbacks) == {f"layers.{i}.{name}" for i in (0, 1) for name in ("down",)}
