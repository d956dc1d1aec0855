"""Finding a model by name, folder or hub id, and noticing when its files are not what they should be."""

import json
import os
import shutil
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import load_file

from engine.errors import (
    ModelNotInstalledError,
    UnknownModelError,
    UnsupportedModelError,
    WeightsIntegrityError,
)
from engine.models import CATALOG, FAMILIES, checkpoint, list_models, resolve
from engine.models.checkpoint import inspect
from engine.models.format.manifest import Manifest
from engine.models.sources.hub import fetch
from tests.support.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def tiny_once(tmp_path_factory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "mine", "llama")


@pytest.fixture
def models(tiny_once, tmp_path) -> Path:
    """A models folder with one folder of the user's own in it, ``mine``."""
    shutil.copytree(tiny_once, tmp_path / "models" / "mine")
    return tmp_path / "models"


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_of_each_family_is_found_by_its_path(tmp_path, family):
    folder = make_tiny_checkpoint(tmp_path / "checkpoint", family)
    checkpoint = resolve(str(folder), tmp_path / "models")
    checkpoint.verify()
    assert checkpoint.family == family
    assert checkpoint.context_length == 256
    assert checkpoint.provenance == "16-bit precision, as published"
    assert checkpoint.weight_files == (folder / "model.safetensors",)
    assert checkpoint.parameters == sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())


def test_a_folder_beside_the_catalogue_is_found_by_its_name(models):
    assert resolve("mine", models).folder == models / "mine"


def test_identity_follows_weights_and_configuration_and_nothing_else(models):
    before = resolve("mine", models).weights_sha256
    (models / "mine" / "README.md").write_text("notes")
    shutil.copytree(models / "mine", models / "copy")
    assert resolve("copy", models).weights_sha256 == before
    edit_config(models / "mine", rms_norm_eps=1e-3)
    assert resolve("mine", models).weights_sha256 != before


def test_the_files_of_a_model_are_read_again_once_one_of_them_has_changed(models, monkeypatch):
    first, reads = resolve("mine", models), []
    monkeypatch.setattr(checkpoint, "inspect", lambda *asked: reads.append(asked) or inspect(*asked))
    assert resolve("mine", models) is first
    assert not reads
    edit_config(models / "mine", rms_norm_eps=1e-3)
    assert resolve("mine", models) != first
    assert len(reads) == 1


def test_unknown_name_lists_what_there_is(models):
    with pytest.raises(UnknownModelError, match=r"smollm2-135m.*mine"):
        resolve("nothing like it", models)


def test_a_folder_without_configuration_is_no_model(models, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownModelError, match=r"empty has no config\.json"):
        resolve(str(tmp_path / "empty"), models)


def test_catalogue_model_that_is_not_here_says_how_to_get_it(models):
    with pytest.raises(ModelNotInstalledError, match=r"Models page.*python -m engine models install smollm2-135m"):
        resolve("smollm2-135m", models)


def test_other_families_are_refused_with_a_list(models):
    edit_config(models / "mine", model_type="mamba")
    with pytest.raises(UnsupportedModelError, match=r"mamba.*llama, mistral, qwen2, qwen3"):
        resolve("mine", models)


def test_checkpoints_quantized_in_another_way_are_refused(models):
    edit_config(models / "mine", quantization_config={"quant_method": "fp8"})
    with pytest.raises(UnsupportedModelError, match=r"already quantized.*fp8"):
        resolve("mine", models)


def test_weights_in_another_format_are_refused(models):
    weights = models / "mine" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(UnsupportedModelError, match="safetensors"):
        resolve("mine", models)


def test_a_truncated_folder_is_noticed_at_once(models):
    weights = models / "mine" / "model.safetensors"
    whole = weights.stat().st_size
    os.truncate(weights, whole - 10)
    with pytest.raises(WeightsIntegrityError, match=rf"model\.safetensors was truncated.*{whole - 10:,}.*{whole:,}"):
        resolve("mine", models)
    os.truncate(weights, 4)
    with pytest.raises(WeightsIntegrityError, match=r"model\.safetensors is damaged"):
        resolve("mine", models)


def test_a_missing_shard_is_named(models):
    (models / "mine" / "model.safetensors").rename(models / "mine" / "model-1.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (models / "mine" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsIntegrityError, match=r"incomplete: model-2\.safetensors of its 2"):
        resolve("mine", models)


def test_an_altered_file_is_named_with_both_hashes(models_dir, tmp_path):
    model = tmp_path / "smollm2-135m"
    shutil.copytree(models_dir / "smollm2-135m", model)
    weights = model / "model.safetensors"
    resolve("smollm2-135m", tmp_path).verify()
    with weights.open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)
        file.seek(1_000_000)
        file.write(bytes([byte[0] ^ 1]))
    expected = json.loads((model / "manifest.json").read_text())["files"]["model.safetensors"]["sha256"]
    with pytest.raises(WeightsIntegrityError) as caught:
        resolve("smollm2-135m", tmp_path).verify()
    message = str(caught.value)
    assert str(weights) in message
    assert expected in message
    assert len([word for word in message.replace(",", " ").split() if len(word.rstrip(".")) == 64]) == 2
    assert "--reinstall" in message
    os.truncate(weights, 5_000)
    with pytest.raises(WeightsIntegrityError, match="truncated: it has 5,000 bytes"):
        resolve("smollm2-135m", tmp_path).verify()
    weights.unlink()
    with pytest.raises(WeightsIntegrityError, match="missing"):
        resolve("smollm2-135m", tmp_path).verify()
    (model / "manifest.json").write_text("{")
    with pytest.raises(WeightsIntegrityError, match=r"manifest\.json is damaged"):
        resolve("smollm2-135m", tmp_path)


def test_hub_out_of_reach_is_said(models, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ModelNotInstalledError, match=r"someone/something.*cannot be reached"):
        resolve("someone/something", models)


def test_hub_without_the_repository_is_said(models, monkeypatch):
    def missing(self, repository, **options):
        request = httpx2.Request("GET", "https://hub")
        raise RepositoryNotFoundError("no", response=httpx2.Response(404, request=request))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", missing)
    with pytest.raises(UnknownModelError, match="no model someone/something"):
        resolve("someone/something", models)


def test_a_name_the_hub_would_not_take_is_unknown(models):
    with pytest.raises(UnknownModelError, match="neither a folder nor a hub id"):
        resolve("../escape--d", models)


def test_a_hub_model_on_this_machine_is_used_without_asking(tiny_once, models, tmp_path, monkeypatch):
    repository = tmp_path / "hub" / "models--someone--something"
    shutil.copytree(tiny_once, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    checkpoint = resolve("someone/something", models)
    assert checkpoint.name == "someone/something"
    assert checkpoint.weights_sha256 == resolve("mine", models).weights_sha256


def test_the_list_has_the_catalogue_then_ones_own_folders(models):
    shutil.copytree(models / "mine", models / "broken")
    edit_config(models / "broken", model_type="mamba")
    shutil.copytree(models / "mine", models / ".hidden")
    infos = {model.name: model for model in list_models(models)}
    assert list(infos) == [*CATALOG, "broken", "mine"]
    assert not infos["smollm2-135m"].installed
    assert infos["smollm2-135m"].download_bytes == CATALOG["smollm2-135m"].download_bytes
    assert infos["mine"].installed
    assert infos["mine"].family == "llama"
    assert infos["mine"].disk_bytes > 100_000
    assert not infos["broken"].installed
    assert "mamba" in infos["broken"].problem


def test_catalogue_describes_what_gets_installed(models_dir):
    checkpoint = resolve("smollm2-135m", models_dir)
    entry = CATALOG["smollm2-135m"]
    assert checkpoint.parameters == entry.parameters
    config = json.loads((checkpoint.folder / "config.json").read_text())
    assert (config["model_type"], config["max_position_embeddings"]) == (entry.family, entry.context_length)
    assert f"{entry.source_precision.split()[-4]} bits" in checkpoint.provenance


def test_a_folder_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    for name, config in (("short", {}), ("odd", {"quantization_config": "yes"})):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    listed = {model.name: model for model in list_models(tmp_path)}
    assert "num_attention_heads" in listed["short"].problem
    assert "already quantized" in listed["odd"].problem


def test_a_name_that_no_file_can_have_is_unknown(tmp_path):
    with pytest.raises(UnknownModelError, match="300 characters"):
        resolve("x" * 300, tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "[" * 100_000, '{"format": NaN}', "9" * 5000, '{"format": 1, "files": 3}',
     '{"format": 1, "files": {}, "source_file": "a", "source_sha256": "b", "encodings": {"F16": "many"}, '
     '"bits_per_weight": 16, "parameters": 1}'],
)  # fmt: skip
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(WeightsIntegrityError, match=r"manifest\.json is damaged"):
        Manifest.read(tmp_path)


def test_a_folder_whose_name_is_no_utf8_is_listed_with_the_reason(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/mod\xe8le"))
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (model,) = (model for model in list_models(tmp_path) if not model.in_catalog)
    assert (model.name, model.title, model.installed) == ("mod\ufffdle", "mod\ufffdle", False)
    assert "no UTF-8" in (model.problem or "")


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "9" * 5000, "caf\udce9"])
def test_a_hub_model_with_a_config_that_cannot_be_read_is_not_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    monkeypatch.setattr(
        "engine.models.sources.hub._snapshot", lambda repository, local_files_only: tmp_path / "nowhere"
    )
    monkeypatch.setattr("engine.models.sources.hub.hf_hub_download", lambda repository, name: str(tmp_path / name))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: None)
    with pytest.raises(UnsupportedModelError, match=r"config\.json of org/model is no JSON"):
        fetch("org/model")
