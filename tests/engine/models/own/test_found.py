"""Models of Ollama and LM Studio are found with what they are, whatever else lies in their folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.command_line import run
from engine.models.own.add import add
from engine.models.own.found import found_files, look_at_found
from tests.support.gguf_files import tiny_gguf

MODEL = "application/vnd.ollama.image.model"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "tiny.gguf"
    tiny_gguf(path, "qwen2", "Q8_0")
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    return tmp_path


def ollama(folder: Path, model: str, blob: Path, digest: str, kind: str = MODEL, *more: dict[str, str]) -> Path:
    """Put a model where Ollama would; its blob's path."""
    manifest = folder / "manifests" / model
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"layers": [{"mediaType": kind, "digest": f"sha256:{digest}"}, *more]}))
    (folder / "blobs").mkdir(exist_ok=True)
    target = folder / "blobs" / f"sha256-{digest}"
    shutil.copy(blob, target)
    return target


def test_nothing_is_found_where_there_is_nothing(home: Path) -> None:
    assert found_files() == []


def test_models_are_listed_as_their_program_calls_them(written: Path, home: Path) -> None:
    store = home / ".ollama" / "models"
    blob = ollama(store, "registry.ollama.ai/library/qwen2.5/0.5b", written, "a" * 64)
    ollama(store, "hf.co/someone/Mine-GGUF/Q8_0", written, "b" * 64)
    studio = home / ".lmstudio" / "models" / "someone" / "Mine-GGUF"
    studio.mkdir(parents=True)
    shutil.copy(written, studio / "Mine-Q8_0.gguf")
    (studio / "mmproj-Mine.gguf").write_bytes(b"GGUF")
    (studio / "README.md").write_text("no model")
    old = home / ".cache" / "lm-studio" / "models"
    old.mkdir(parents=True)
    (old / "big-00001-of-00003.gguf").write_bytes(b"GGUF")
    found = found_files()
    assert [(file.program, file.title) for file in found] == [
        ("Ollama", "hf.co/someone/Mine-GGUF:Q8_0"),
        ("Ollama", "qwen2.5:0.5b"),
        ("LM Studio", "someone/Mine-GGUF/Mine-Q8_0.gguf"),
        ("LM Studio", "big-00001-of-00003.gguf"),
    ]
    assert [file.name for file in found] == ["Mine-GGUF-Q8_0", "qwen2.5-0.5b", "Mine-Q8_0", "big-00001-of-00003"]
    looked = [look_at_found(file) for file in found]
    assert [model.summary.family for model in looked if model.summary] == ["qwen2"] * 3
    assert looked[3].problem == "It is one of several files of a model, which are not joined here."
    assert found[1].path == blob
    assert add(found[1].path, home / "models", name=found[1].name).family == "qwen2"


def test_the_folder_that_ollama_was_told_counts(written: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "elsewhere"))
    ollama(home / "elsewhere", "registry.ollama.ai/library/tiny/latest", written, "c" * 64)
    assert [file.title for file in found_files()] == ["tiny:latest"]


def test_broken_manifests_and_files_are_left_out_or_say_why(written: Path, home: Path) -> None:
    store = home / ".ollama" / "models"
    ollama(store, "registry.ollama.ai/library/vision/latest", written, "d" * 64, "application/other")
    ollama(store, "registry.ollama.ai/library/up/latest", written, "not a hash")
    adapter = {"mediaType": "application/vnd.ollama.image.adapter", "digest": "sha256:" + "e" * 64}
    ollama(store, "registry.ollama.ai/library/adapted/latest", written, "e" * 64, MODEL, adapter)
    blob = ollama(store, "registry.ollama.ai/library/cut/latest", written, "f" * 64)
    blob.write_bytes(written.read_bytes()[:5_000])
    gone = ollama(store, "registry.ollama.ai/library/gone/latest", written, "0" * 64)
    gone.unlink()
    for name, content in (("list", "[]"), ("none", "{"), ("layers", '{"layers": [1, {"digest": 2}]}')):
        path = store / "manifests" / "registry.ollama.ai" / "library" / name / "latest"
        path.parent.mkdir()
        path.write_text(content)
    looked = {model.file.title: model.problem for model in map(look_at_found, found_files())}
    assert looked.keys() == {"adapted:latest", "cut:latest"}
    assert looked["adapted:latest"] == "It has an adapter beside its weights, which is not applied here."
    assert "cut short" in str(looked["cut:latest"])


def test_the_command_lists_them(written: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "found"]) == 0
    assert "No models of Ollama or LM Studio" in capsys.readouterr().out
    blob = ollama(home / ".ollama" / "models", "registry.ollama.ai/library/tiny/latest", written, "a" * 64)
    assert run(["models", "found"]) == 0
    lines = capsys.readouterr().out
    assert "tiny:latest" in lines
    assert f"gearbox models add {blob} --name tiny-latest" in lines
