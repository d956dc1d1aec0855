"""What removing a model frees, and that nothing else goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import add_model, list_models, removal_of, remove_model
from engine.errors import UnknownModelError
from engine.models.checkpoint import PACKED, resolve
from engine.models.kept import kept_file_of
from engine.models.sources.catalog import CATALOG
from tests.support.gguf_files import tiny_gguf
from tests.support.tiny import make_tiny_checkpoint


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def pack(name: str, models: Path) -> Path:
    packed = resolve(name, models).kept_in(models / PACKED)
    packed.mkdir(parents=True)
    (packed / kept_file_of(models / name)).write_bytes(b"x" * 100)
    (packed / "int4.safetensors").write_bytes(b"x" * 400)
    return packed


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_folder_goes_with_what_was_packed_of_it(models: Path) -> None:
    make_tiny_checkpoint(models / "mine", "qwen2")
    make_tiny_checkpoint(models / "other", "qwen2", seed=1)
    packed, others = pack("mine", models), pack("other", models)
    removal = removal_of("mine", models)
    assert (removal.weights_bytes, removal.packed_bytes, removal.source) == (size(models / "mine"), 500, None)
    assert not removal.comes_back
    assert remove_model("mine", models) == removal
    assert not (models / "mine").exists()
    assert not packed.exists()
    assert others.exists()
    assert [info.name for info in list_models(models) if not info.in_catalog] == ["other"]
    with pytest.raises(UnknownModelError, match="no model 'mine'"):
        removal_of("mine", models)


def test_a_file_of_one_s_own_stays_and_frees_nothing_that_it_still_takes(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    tiny_gguf(file, "llama", "Q4_0")
    add_model(file, models, name="mine")
    linked = removal_of("mine", models)
    assert linked.source == models / "mine" / "mine.gguf"
    assert linked.source_bytes == 0, "it is the same file under another name"
    content = file.read_bytes()
    remove_model("mine", models)
    assert file.read_bytes() == content
    add_model(file, models, name="mine")
    file.unlink()
    removal = removal_of("mine", models)
    assert removal.source_bytes == len(content)
    assert removal.freed_bytes == size(models / "mine")


def test_a_model_of_the_catalogue_goes_with_its_published_file_and_is_offered_again(models: Path) -> None:
    name, model = next(iter(CATALOG.items()))
    models.mkdir()
    (models / model.file_name).write_bytes(b"x" * 700)
    (models / name).mkdir()
    (models / name / "model.safetensors").write_bytes(b"x" * 300)
    removal = remove_model(name, models)
    assert (removal.weights_bytes, removal.source_bytes, removal.comes_back) == (300, 700, True)
    assert list(models.iterdir()) == []
    assert not next(info for info in list_models(models) if info.name == name).installed
    with pytest.raises(UnknownModelError):
        remove_model(name, models)


def test_of_a_link_only_the_link_goes(models: Path, tmp_path: Path) -> None:
    elsewhere = make_tiny_checkpoint(tmp_path / "elsewhere", "llama")
    models.mkdir()
    name, model = next(iter(CATALOG.items()))
    (models / name).symlink_to(elsewhere)
    (models / model.file_name).write_bytes(b"x")
    removal = remove_model(name, models)
    assert removal.is_link
    assert (removal.weights_bytes, removal.source_bytes) == (0, 0)
    assert (elsewhere / "config.json").is_file()
    assert [path.name for path in models.iterdir()] == [model.file_name], "it is said to free nothing, and stays"


def test_a_damaged_model_can_be_removed(models: Path) -> None:
    make_tiny_checkpoint(models / "mine", "llama")
    (models / "mine" / "model.safetensors").write_bytes(b"no")
    assert remove_model("mine", models).packed == ()
    assert not (models / "mine").exists()


@pytest.mark.parametrize("name", ["..", ".", "", PACKED, "a/../b", "nothing"])
def test_nothing_else_in_reach_is_removed(models: Path, name: str) -> None:
    make_tiny_checkpoint(models / "mine", "llama")
    (models / PACKED).mkdir()
    before = sorted(models.iterdir())
    with pytest.raises(UnknownModelError):
        remove_model(name, models)
    assert sorted(models.iterdir()) == before
