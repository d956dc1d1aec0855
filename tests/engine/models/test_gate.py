"""What a folder that anybody may have written is refused for, and how that is said."""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from engine import Engine
from engine.command_line import run as main
from engine.errors import GearboxError, ModelNotInstalledError, UnsupportedModelError, WeightsIntegrityError
from engine.models import list_models, resolve
from engine.models.format.manifest import sha256_of
from engine.models.sources.progress import silent
from engine.passes import perform_alone
from engine.serving.matchmaking import drafter_choices
from engine.serving.memory.pool import ModelPool
from engine.types import (
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
)
from tests.support.altered import Alteration, apply, read_weights, write_weights
from tests.support.loading import load_model, open_model
from tests.support.oracle import Oracle
from tests.support.tiny import Family, make_tiny_checkpoint, make_tiny_tokenizer


def altered(folder: Path, *alterations: Alteration, family: Family = "llama", **overrides: Any) -> Path:
    """A tiny checkpoint with alterations, in a models folder."""
    apply(make_tiny_checkpoint(folder / "models" / "mine", family, **overrides), list(alterations))
    return folder / "models"


def refusal(models: Path) -> str:
    """Why ``mine`` is refused, which the list of models says too."""
    with pytest.raises(GearboxError) as caught:
        open_model(ModelPool(models), "mine")
    listed = {model.name: model for model in list_models(models)}["mine"]
    assert not listed.installed
    assert listed.problem == str(caught.value)
    return str(caught.value)


def index_of(models: Path, name: str) -> int:
    return sorted(read_weights(models / "mine" / "model.safetensors")).index(name)


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4", "nf4"])
def test_a_missing_norm_is_refused_and_named_at_every_precision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    models = altered(tmp_path)
    lacking = "model.layers.1.input_layernorm.weight"
    apply(models / "mine", [("drop", index_of(models, lacking))])
    command = ["generate", "--model", str(models / "mine"), "--prompt", "Hi", "--quantization", precision]
    assert main(command) == 2
    assert f"{lacking} is missing, which config.json promises with the shape [64]" in capsys.readouterr().err


def test_every_missing_tensor_is_named(tmp_path: Path) -> None:
    path = altered(tmp_path, attention_bias=True, mlp_bias=True) / "mine" / "model.safetensors"
    whole = read_weights(path)
    for name in whole:
        write_weights(path, {other: tensor for other, tensor in whole.items() if other != name})
        assert f"{name} is missing" in refusal(tmp_path / "models")


@pytest.mark.parametrize(
    ("alteration", "promised"),
    [(("unset", "num_key_value_heads"), 64), (("set", "num_key_value_heads", 1), 16)],
    ids=["deleted", "one"],
)
def test_wrong_heads_are_refused_with_both_shapes(tmp_path: Path, alteration: Alteration, promised: int) -> None:
    said = refusal(altered(tmp_path, alteration))
    assert f"k_proj.weight has the shape [32, 64], and config.json promises [{promised}, 64]" in said


def test_a_token_beyond_the_embedding_is_refused(tmp_path: Path) -> None:
    said = refusal(altered(tmp_path, ("add token", 384, False)))
    assert "a token with the id 384, and its embedding ends at 383" in said
    assert refusal_of_nothing(altered(tmp_path / "fits", ("add token", 383, False)))


def test_a_token_that_transformers_would_add_beyond_the_embedding_is_refused(tmp_path: Path) -> None:
    known = len(make_tiny_tokenizer())
    models = altered(tmp_path, ("tokenizer setting", "pad_token", "<new>"), vocab_size=known)
    with pytest.raises(WeightsIntegrityError, match=f"id {known}, and its embedding ends at {known - 1}"):
        open_model(ModelPool(models), "mine")


def refusal_of_nothing(models: Path) -> bool:
    """Whether ``mine`` is taken."""
    open_model(ModelPool(models), "mine")
    return {model.name: model for model in list_models(models)}["mine"].installed


@pytest.mark.parametrize("same", [True, False])
def test_a_head_beside_tied_embeddings_is_used_as_transformers_uses_it(
    tmp_path: Path, oracle: Oracle, same: bool
) -> None:
    models = altered(tmp_path, ("add head", same), tie_word_embeddings=True)
    assert open_model(ModelPool(models), "mine").config.tied_head is same
    assert oracle.judge(models / "mine") == {"outcome": "equal", "why": ""}


def test_a_folder_without_a_tokenizer_is_not_listed_as_installed(tmp_path: Path) -> None:
    said = refusal(altered(tmp_path, ("overwrite", "tokenizer.json", "gone")))
    assert "has no tokenizer.json" in said


@pytest.mark.parametrize("stray", ["model_old.safetensors", "a.safetensors", "consolidated.safetensors"])
def test_other_weights_beside_the_models_own_are_not_read(tmp_path: Path, stray: str) -> None:
    plain = resolve("mine", altered(tmp_path / "plain")).weights_sha256
    found = resolve("mine", altered(tmp_path / "stray", ("stray", stray)))
    assert found.weights_sha256 == plain
    assert [path.name for path in found.weight_files] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("lost", "is incomplete: model-00002-of-00002.safetensors of its 2 weights files is missing"),
        ("cut", "model-00002-of-00002.safetensors was truncated"),
        ("moved", "says that .* is in model-00002-of-00002.safetensors, where it is not"),
        ("unnamed", "does not name"),
        ("unknown", "says that model.layers.0.other.weight is in"),
        ("twice", "stands both in"),
        ("outside", "is no name of a safetensors file beside it"),
        ("no index", "neither model.safetensors nor model.safetensors.index.json"),
        ("broken", "index.json is damaged"),
    ],
)
def test_faulty_shards_are_refused_in_words(tmp_path: Path, fault: str, said: str) -> None:
    assert re.search(said, refusal(altered(tmp_path, ("shard", 2, fault))))


def test_shards_are_read(tmp_path: Path) -> None:
    assert refusal_of_nothing(altered(tmp_path, ("shard", 3, "")))


def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *alterations: Alteration) -> Path:
    """A cache of the hub that holds one repository, and no network."""
    repository = tmp_path / "hub" / "models--someone--something"
    apply(make_tiny_checkpoint(repository / "snapshots" / "abc", "llama"), list(alterations))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository / "snapshots" / "abc"


def test_an_interrupted_download_is_called_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_cache(tmp_path, monkeypatch, ("shard", 2, "lost"))
    with pytest.raises(ModelNotInstalledError, match=r"not whole on this machine.*incomplete.*fetch the rest"):
        resolve("someone/something", tmp_path)


def test_an_interrupted_download_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "whole"
    make_tiny_checkpoint(whole, "llama")
    hub_cache(tmp_path, monkeypatch, ("shard", 2, "lost"))

    def download(repository: str, *, local_files_only: bool, **_: Any) -> str:
        return str(tmp_path / "hub/models--someone--something/snapshots/abc" if local_files_only else whole)

    monkeypatch.setattr("engine.models.sources.hub.snapshot_download", download)
    monkeypatch.setattr("engine.models.sources.hub.hf_hub_download", lambda *_: str(whole / "config.json"))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)
    assert resolve("someone/something", tmp_path).folder == whole


@pytest.mark.parametrize(
    ("alterations", "said"),
    [
        ([("copy", 0, "score.weight")], r"score\.weight belongs to no llama model"),
        ([("stray", "adapter_config.json")], "holds an adapter"),
        ([("set", "transformers_weights", "model_old.safetensors")], "a weights file of its own"),
        ([("set", "num_hidden_layers", 10**9)], "a whole number from 1 to 1,024, and is 1000000000"),
        ([("set", "num_hidden_layers", True)], "and is True"),
        ([("set", "head_dim", 15)], "must be even"),
        ([("set", "num_key_value_heads", 3)], "no multiple of num_key_value_heads"),
        ([("set", "rms_norm_eps", float("nan"))], "NaN is no JSON number"),
        ([("set", "rope_theta", 0)], "rope_theta"),
        ([("set", "rope_scaling", {"type": "dynamic", "factor": 2.0})], "RoPE scaling 'dynamic' is not supported"),
        ([("set", "tie_word_embeddings", "false")], "must be true or false"),
        ([("overwrite", "config.json", "deep")], "nested more than"),
        ([("overwrite", "tokenizer.json", "deep")], "nested more than"),
        ([("convert", 0, "F64")], "weights are read as BF16, F16, F32"),
        ([("damage", "append", 5)], "was overwritten"),
        ([("generation", "pad_token_id", "x")], "pad_token_id must be a token id, and is 'x'"),
        ([("tokenizer setting", "model_max_length", "x")], "model_max_length is 'x'"),
        ([("tokenizer part", "added_tokens", [{"id": "x"}])], "'x' is no token id"),
        ([("tokenizer part", "post_processor", {"special_tokens": {"x": {"ids": [999_999]}}})], "the id 999,999"),
        ([("tokenizer part", "post_processor", {"processors": [{"cls": ["x", 384]}]})], "the id 384"),
        ([("tokenizer part", "normalizer", [{"content": "a" * 20}, {"content": "b" * 20}])], "400 times as long"),
        ([("tokenizer part", "model", {"vocab": {"a": 0}, "dropout": 0.5})], "drawn at random"),
        ([("tokenizer setting", "fast_tokenizer_files", ["tokenizer.4.0.json"])], "tokenizer files of its own"),
        ([("set", "is_causal", False)], "is_causal in config.json is False"),
        ([("set", "text_config", {})], "text_config in config.json"),
        ([("set", "pad_token_id", 384)], "beyond the vocabulary of 384"),
        ([("set", "quantization_config", {})], "already quantized"),
        ([("set", "attn_implementation", "flash_attention_2")], "is not supported"),
        ([("set", "rope_scaling", {"type": "yarn", "factor": 2.0, "attention_factor": 1e39})], "attention_factor"),
    ],
)  # fmt: skip
def test_what_the_engine_would_not_follow_is_refused(tmp_path: Path, alterations: list[Alteration], said: str) -> None:
    assert re.search(said, refusal(altered(tmp_path, *alterations)))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_weight_that_is_no_number_is_refused(tmp_path: Path, oracle: Oracle, value: str) -> None:
    models = altered(tmp_path, ("poison", 3, value))
    result = oracle.judge(models / "mine")
    assert result["outcome"] == "refused"
    assert "not a finite number" in result["why"]


def test_code_in_a_folder_is_never_run(tmp_path: Path, oracle: Oracle) -> None:
    models = altered(tmp_path, ("set", "auto_map", {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}))
    trace = tmp_path / "trace"
    (models / "mine" / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Config: ...\nclass Model: ...\n")
    settings = models / "mine" / "tokenizer_config.json"
    settings.write_text(
        json.dumps({**json.loads(settings.read_text()), "auto_map": {"AutoTokenizer": ["evil.Config", None]}})
    )
    result = oracle.judge(models / "mine")
    assert result["outcome"] in ("equal", "refused")
    assert not trace.exists()


def test_a_packed_file_that_lacks_a_tensor_is_made_again(tmp_path: Path) -> None:
    models = altered(tmp_path)
    run = RunConfig(model="mine", optimization=OptimizationConfig.at(Precision.INT8))

    def load() -> int:
        pool = ModelPool(models)
        return load_model(pool, run).weights_bytes

    weighs = load()
    (packed,) = models.glob(".packed/*/int8-*.safetensors")
    whole = packed.read_bytes()
    for name in read_weights(packed):
        tensors = read_weights(packed)
        del tensors[name]
        write_weights(packed, tensors)
        packed.with_suffix(".sha256").write_text(sha256_of(packed))
        assert load() == weighs
        assert len(read_weights(packed)) == len(tensors) + 1
    assert len(packed.read_bytes()) == len(whole)


def test_families_that_do_not_run_are_refused_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="of the family mamba"):
        open_model(ModelPool(altered(tmp_path, ("set", "model_type", "mamba"))), "mine")


def test_a_broken_model_does_not_hide_the_other_drafters(tmp_path: Path) -> None:
    models = altered(tmp_path, ("overwrite", "tokenizer_config.json", "brace"))
    make_tiny_checkpoint(models / "sound", "llama")
    choices = perform_alone(drafter_choices(ModelPool(models), "sound", Precision.INT8, ["mine", "sound"], silent))
    assert [choice.why_not for choice in choices if choice.name == "mine"] == [refusal(models)]
    assert len(choices) > 1


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    models = altered(tmp_path, ("overwrite", "tokenizer_config.json", "gone"))
    (models / "mine" / "config.json").unlink()
    (models / "mine" / "config.json").mkdir()
    listed = {model.name: model for model in list_models(models)}["mine"]
    assert "config.json is damaged: it cannot be read" in str(listed.problem)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json", "chat_template.jinja"])
def test_what_is_no_regular_file_is_refused_without_being_read(tmp_path: Path, name: str) -> None:
    models = altered(tmp_path)
    (models / "mine" / name).unlink(missing_ok=True)
    os.mkfifo(models / "mine" / name)
    assert f"{name} is no regular file" in refusal(models)


def test_a_small_file_that_is_huge_is_refused_without_being_read(tmp_path: Path) -> None:
    models = altered(tmp_path)
    with (models / "mine" / "special_tokens_map.json").open("wb") as file:
        file.truncate(2**34)
    assert "special_tokens_map.json has more than 268,435,456 bytes" in refusal(models)


@pytest.mark.parametrize(
    "part",
    [
        ("pre_tokenizer", {"type": "FixedLength", "length": 0}),
        ("normalizer", {"type": "Replace", "pattern": {"String": ""}, "content": "x"}),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        ("model", {"type": "WordLevel", "vocab": {"a": 3}, "unk_token": "[UNK]"}),
    ],
    ids=["panics", "index", "charsmap", "unknown"],
)
def test_a_tokenizer_that_panics_fails_its_own_run_and_no_other(tmp_path: Path, part: tuple[str, Any]) -> None:
    models = altered(tmp_path, ("tokenizer part", *part))
    make_tiny_checkpoint(models / "sound", "llama")
    with closing(Engine(models)) as engine:

        def ask(model: str) -> Any:
            request = GenerationRequest(
                messages=(Message("user", "Hello there"),),
                config=RunConfig(model=model, sampling=SamplingParams(max_tokens=2)),
            )
            return list(engine.generate(request))[-1]

        failed = ask("mine")
        assert isinstance(failed, RunFailed)
        assert "tokenizer" in failed.error
        assert isinstance(ask("sound"), RunFinished)


@pytest.mark.parametrize("shard", ["a" * 300 + ".safetensors", "/proc/self/mem"])
def test_weights_that_cannot_be_read_do_not_hide_the_other_models(tmp_path: Path, shard: str) -> None:
    models = altered(tmp_path)
    make_tiny_checkpoint(models / "sound", "llama")
    weights = models / "mine" / "model.safetensors"
    weights.unlink()
    if shard.startswith("/"):
        weights.symlink_to(shard)
    else:
        index = {"metadata": {}, "weight_map": {"x": shard}}
        (models / "mine" / "model.safetensors.index.json").write_text(json.dumps(index))
    listed = {model.name: model for model in list_models(models)}
    assert listed["sound"].installed
    assert listed["mine"].problem
