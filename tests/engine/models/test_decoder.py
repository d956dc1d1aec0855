"""The decoder against transformers' own modules, on tiny random checkpoints of every family."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from engine.errors import UnsupportedModelError
from engine.models.decoders.decoder import Decoder, DecoderConfig
from engine.models.decoders.weights import load_decoder
from engine.models.quantized.stored_weights import StoredWeights
from engine.native.kernels import library
from engine.types import Precision
from tests.support.tiny import FAMILIES, LLAMA3_ROPE, make_tiny_checkpoint

YARN_ROPE = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 64}


def load_tiny(folder: Path, precision: Precision = Precision.BF16) -> Decoder:
    config = DecoderConfig.from_hf(AutoConfig.from_pretrained(folder))
    weights = partial(StoredWeights, "tiny", sorted(folder.glob("*.safetensors")), config.tensors())
    return load_decoder(config, weights, precision, folder / "packed", lambda _: None, lambda: None).decoder


@pytest.fixture(params=["own kernels", "torch's kernels"])
def rounding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """The type of transformers' model that a decoder comes near: between two matrices ours rounds nothing."""
    if request.param == "torch's kernels":
        monkeypatch.setattr("engine.models.decoders.weights.library", lambda: None)
        return torch.bfloat16
    if library() is None:
        pytest.skip("the kernels of our own cannot be built here")
    return torch.float


def reference_logits(folder: Path, ids: torch.Tensor, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model(ids[None]).logits[0].float()


def chunked_logits(decoder: Decoder, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    cache = decoder.new_cache(len(ids))
    return torch.cat([decoder.logits(decoder.forward(chunk, cache)) for chunk in ids.split(sizes)])


def assert_same_rows(got: torch.Tensor, wanted: torch.Tensor) -> None:
    """Every row of logits agrees to bf16's rounding; a wrong mask, rotation or bias is off by far more."""
    errors = (got - wanted).norm(dim=-1) / wanted.norm(dim=-1).clamp_min(1e-6)  # padding embeds as zeros
    assert errors.max() < 0.05, errors  # the two round in different places


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"tie_word_embeddings": True},
        {"num_key_value_heads": 4},
        {"num_key_value_heads": 1},
        {"rope_parameters": LLAMA3_ROPE},
        {"rope_parameters": YARN_ROPE},
        {"head_dim": 32},
    ],
    ids=lambda o: ",".join(o) or "plain",
)
@torch.inference_mode()
def test_logits_equal_transformers(
    tmp_path: Path, family: Any, overrides: dict[str, Any], rounding: torch.dtype
) -> None:
    if family == "qwen2" and "head_dim" in overrides:
        pytest.skip("qwen2 has no head_dim of its own")
    folder = make_tiny_checkpoint(tmp_path, family, **overrides)
    ids = torch.randint(0, 256, (70,), generator=torch.Generator().manual_seed(1))
    decoder = load_tiny(folder)
    assert_same_rows(chunked_logits(decoder, ids, [70]), reference_logits(folder, ids, rounding))


@pytest.mark.parametrize("attention_bias", [False, True])
@torch.inference_mode()
def test_biases_are_applied(tmp_path: Path, attention_bias: bool, rounding: torch.dtype) -> None:
    folder = make_tiny_checkpoint(tmp_path, "llama", attention_bias=attention_bias, mlp_bias=attention_bias)
    ids = torch.arange(40)
    assert_same_rows(chunked_logits(load_tiny(folder), ids, [40]), reference_logits(folder, ids, rounding))


@pytest.mark.parametrize("family", ["mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("sizes", [[60], [17, 43], [30] + [1] * 30, [5, 20, 35]], ids=str)
@torch.inference_mode()
def test_sliding_windows_hide_what_lies_behind_them(
    tmp_path: Path, family: Any, sizes: list[int], rounding: torch.dtype
) -> None:
    window = {"sliding_window": 16} | (
        {} if family == "mistral" else {"use_sliding_window": True, "max_window_layers": 1}
    )
    folder = make_tiny_checkpoint(tmp_path, family, **window)
    ids = torch.arange(60) * 3 % 256
    assert_same_rows(chunked_logits(load_tiny(folder), ids, sizes), reference_logits(folder, ids, rounding))


@pytest.mark.parametrize("sizes", [[50], [1] * 50, [20, 30], [49, 1], [10, 1, 1, 38]], ids=str)
@torch.inference_mode()
def test_chunks_do_not_change_the_logits(tmp_path: Path, sizes: list[int]) -> None:
    decoder = load_tiny(make_tiny_checkpoint(tmp_path, "qwen2"))
    ids = torch.arange(50) * 5 % 256
    assert_same_rows(chunked_logits(decoder, ids, sizes), chunked_logits(decoder, ids, [50]))


@torch.inference_mode()
def test_truncated_cache_continues_as_if_the_rest_had_never_been(tmp_path: Path) -> None:
    decoder = load_tiny(make_tiny_checkpoint(tmp_path, "llama"))
    ids = torch.arange(30) * 7 % 256
    fresh, reused = decoder.new_cache(40), decoder.new_cache(40)
    wanted = decoder.forward(ids, fresh)[-5:]
    decoder.forward(torch.cat([ids[:25], torch.tensor([1, 2, 3])]), reused)
    reused.truncate(25)
    got = decoder.forward(ids[25:], reused)
    assert_same_rows(got, wanted)
    assert reused.length == fresh.length == 30


@torch.inference_mode()
def test_prefill_stops_between_chunks(tmp_path: Path) -> None:
    decoder = load_tiny(make_tiny_checkpoint(tmp_path, "llama"))
    decoder.prefill_chunk = 8
    cache = decoder.new_cache(64)
    answers = iter([False, False, True])
    assert decoder.prefill(torch.arange(40), cache, lambda: next(answers)) is None
    assert cache.length == 16


def test_unsupported_features_are_refused(tmp_path: Path) -> None:
    config = AutoConfig.for_model("llama", hidden_act="gelu")
    with pytest.raises(UnsupportedModelError, match="gelu"):
        DecoderConfig.from_hf(config)
    config = AutoConfig.for_model("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    with pytest.raises(UnsupportedModelError, match="dynamic"):
        DecoderConfig.from_hf(config)


def test_cache_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    decoder = load_tiny(make_tiny_checkpoint(tmp_path, "llama"))
    cache = decoder.new_cache(4)
    with pytest.raises(ValueError, match="5 positions"):
        decoder.forward(torch.arange(5), cache)
    with pytest.raises(ValueError, match="truncate"):
        cache.truncate(1)


PACKED_BY_TORCH = {
    Precision.INT8: f"torch-int8pack-{version('torch')}",
    Precision.INT4: f"torch-int4pack-{version('torch')}",
    Precision.LLM_INT8: f"bitsandbytes-llm.int8-{version('torch')}",
}
"""NF4 is not among them: the name of its kernel depends on the processor."""


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.NF4, *PACKED_BY_TORCH])
@pytest.mark.parametrize("own", [True, False], ids=["own kernels", "torch's kernels"])
def test_packed_weights_are_found_under_the_name_they_always_had(
    tmp_path: Path, precision: Precision, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another name would pack every model of every user again."""
    if own and library() is None:
        pytest.skip("the kernels of our own cannot be built here")
    if not own:
        monkeypatch.setattr("engine.models.decoders.weights.library", lambda: None)
    load_tiny(make_tiny_checkpoint(tmp_path, "llama"), precision)
    names = [file.stem for file in (tmp_path / "packed").glob("*.safetensors")]
    capability = torch.backends.cpu.get_cpu_capability().lower()
    codes = "-rounded" if precision is Precision.INT4 else ""
    if precision is Precision.BF16:
        assert names == []
    elif own and precision is not Precision.LLM_INT8:
        assert names == [f"{precision}-gearbox-v2{codes}"]
    elif precision in PACKED_BY_TORCH:
        assert names == [f"{precision}-{capability}-{PACKED_BY_TORCH[precision]}-v2{codes}"]
    else:
        assert names[0].startswith(f"nf4-{capability}-bitsandbytes-")
        assert names[0].endswith(f"-{version('bitsandbytes')}-v2")
