"""Int4 is packed from a published file's codes: one model's are never read as another's of the same 16-bit weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import Engine
from engine.backends.base import LoadedModel
from engine.backends.local import LocalModel
from engine.models.decoders.weights import ROUNDED
from engine.models.format.manifest import sha256_of
from engine.models.own.add import add
from engine.serving.memory.pool import ModelPool
from engine.types import CacheMode, OptimizationConfig, Precision, RunConfig, RunFinished
from tests.support.evaluation import answer, asked
from tests.support.gguf_files import tiny_gguf, write_gguf_of
from tests.support.loading import load_model


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: one, made of a file of 4 bits."""
    folder = tmp_path_factory.mktemp("files")
    tiny_gguf(folder / "mine.gguf", "llama", "Q4_0")
    add(folder / "mine.gguf", folder / "models", name="mine")
    return folder / "models"


@pytest.fixture
def models(added: Path, tmp_path: Path) -> Path:
    """The same with another, of the same weights, whose codes a test alters."""
    shutil.copytree(added / "mine", tmp_path / "mine")
    shutil.copytree(added / "mine", tmp_path / "other")
    write_gguf_of(added.parent / "mine", tmp_path / "another.gguf", "Q4_1")
    return tmp_path


def load(models: Path, name: str) -> LoadedModel:
    run = RunConfig(model=name, optimization=OptimizationConfig.at(Precision.INT4))
    return load_model(ModelPool(models), run)


def hidden(model: LoadedModel) -> torch.Tensor:
    assert isinstance(model, LocalModel)
    return model.decoder.forward(torch.arange(9), model.decoder.new_cache(9))


def remove(file: Path) -> None:
    file.unlink()


def replace_by_another(file: Path) -> None:
    """One that its manifest names."""
    (file.parents[1] / "another.gguf").replace(file)
    manifest = file.parent / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"source_sha256": sha256_of(file)}))


@pytest.mark.parametrize("change", [remove, replace_by_another])
@torch.inference_mode()
def test_codes_of_another_file_are_not_read_as_a_models_own(models: Path, change: Callable[[Path], None]) -> None:
    file = models / "other" / "mine.gguf"
    own = sha256_of(file)[:16]
    change(file)
    other = load(models, "other")
    assert other.environment["codes"] == (sha256_of(file)[:16] if change is replace_by_another else ROUNDED)
    mine = load(models, "mine")
    assert mine.environment["codes"] == own
    assert not torch.equal(hidden(mine), hidden(other))
    for name, first in (("mine", mine), ("other", other)):
        again = load(models, name)
        assert again.environment == first.environment
        assert torch.equal(hidden(again), hidden(first))
    assert len(list(models.glob(".packed/*/int4-*.safetensors"))) == 2


def test_an_altered_file_s_codes_count_as_none(models: Path) -> None:
    file = models / "other" / "mine.gguf"
    own = sha256_of(file)[:16]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert load(models, "other").environment["codes"] == ROUNDED
    assert load(models, "other").environment["codes"] == ROUNDED
    assert load(models, "mine").environment["codes"] == own
    assert len(list(models.glob(".packed/*/int4-*.safetensors"))) == 2


def test_kv_of_other_codes_is_not_gone_on_with(models: Path) -> None:
    remove(models / "other" / "mine.gguf")
    engine = Engine(models, threads=1)
    gears = OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX)

    def ask(name: str) -> RunFinished:
        request = asked("the quick brown fox", name, max_tokens=2)
        return answer(engine, replace(request, config=replace(request.config, optimization=gears)))

    try:
        runs = [ask(name) for name in ("mine", "mine", "other")]
    finally:
        engine.close()
    assert len({run.environment["weights_sha256"] for run in runs}) == 1
    assert [run.metrics.cached_tokens > 0 for run in runs] == [False, True, False]


def test_a_manifest_that_names_no_sha256_names_no_codes(models: Path) -> None:
    manifest = models / "other" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"source_sha256": "../mine"}))
    assert load(models, "other").environment["codes"] == ROUNDED
