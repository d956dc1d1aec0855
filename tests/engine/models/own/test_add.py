"""Adding a GGUF file: by its name or another, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.command_line import run
from engine.errors import (
    InstallError,
    InvalidRequestError,
    UnknownModelError,
    UnsupportedModelError,
    WeightsIntegrityError,
)
from engine.models import list_models, resolve
from engine.models.own import add as adding
from engine.models.own.add import add, free_name, name_for
from engine.models.own.summary import look_at
from engine.models.sources import conversion
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.types import Message
from tests.support.gguf_files import tiny_gguf, write_gguf_of
from tests.support.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a tiny model whose matrices are held in 4 bits."""
    path = tmp_path_factory.mktemp("files") / "Tiny Model-Q4_0.gguf"
    tiny_gguf(path, "llama", "Q4_0")
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def visible(models: Path) -> set[str]:
    return {path.name for path in models.iterdir() if not path.name.endswith(".lock")}


def test_a_model_is_called_after_its_file_and_can_be_listed_and_run(written: Path, models: Path) -> None:
    seen: list[tuple[str, float]] = []
    checkpoint = add(written, models, lambda stage, fraction: seen.append((stage, fraction)))
    checkpoint.verify()
    assert visible(models) == {"Tiny-Model-Q4_0"}
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions)
    assert seen[-1] == ("Ready", 1.0)
    listed = next(model for model in list_models(models) if model.name == "Tiny-Model-Q4_0")
    assert listed.installed
    assert listed.provenance == checkpoint.provenance
    assert listed.provenance.startswith("dequantized from Q4_0")
    tokenizer = ChatTokenizer(checkpoint.folder)
    ids = tokenizer.encode_chat([Message("user", "hello")])
    assert tokenizer.spell(ids) == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"


def test_its_4_bit_codes_are_kept_with_it_whatever_becomes_of_the_file(written: Path, models: Path) -> None:
    file = models.parent / "mine.gguf"
    shutil.copy(written, file)
    add(file, models, name="mine")
    file.unlink()
    codes = resolve("mine", models).open_codes()
    assert codes is not None
    assert codes.find("model.layers.0.mlp.down_proj.weight", (64, 128)) is not None
    (models / "mine").rename(models / "renamed")
    assert resolve("renamed", models).open_codes() is not None


def test_codes_of_queries_are_in_the_order_of_the_checkpoint(written: Path, models: Path) -> None:
    codes = add(written, models).open_codes()
    assert codes is not None
    original = load_file(models / "Tiny-Model-Q4_0" / "model.safetensors")
    for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj"):
        weight = original[f"model.layers.1.{name}.weight"]
        found = codes.find(f"model.layers.1.{name}.weight", weight.shape)
        assert found is not None
        assert torch.equal(found.dequantize().bfloat16(), weight)


def test_a_manifest_that_is_some_other_program_s_or_lacks_weights_counts_for_nothing(tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "tiny", "llama")
    plain = resolve(str(folder), tmp_path)
    record = {"bytes": 1, "sha256": "0"}
    ours = {
        "format": 1, "source_file": "a.gguf", "source_sha256": "", "encodings": {"Q4_0": 1}, "bits_per_weight": 4.5,
        "parameters": 1, "licence": None,
    }  # fmt: skip
    for tree in (
        {"manifest_version": 3},
        [],
        {**ours, "files": {"config.json": record}},
        {**ours, "files": {"config.json": record, "model.safetensors": record, "../secret": record}},
        {**ours, "source_file": "../other.gguf", "files": {"config.json": record, "model.safetensors": record}},
    ):
        (folder / "manifest.json").write_text(json.dumps(tree))
        found = resolve(str(folder), tmp_path)
        assert (found.provenance, found.source) == (plain.provenance, None)
        assert found.weights_sha256 == plain.weights_sha256


def test_a_model_whose_files_were_altered_since_is_refused(written: Path, models: Path) -> None:
    folder = add(written, models).folder
    config = folder / "config.json"
    config.write_text(config.read_text().replace("10000.0", "20000.0"))
    with pytest.raises(WeightsIntegrityError, match=r"config\.json was altered"):
        resolve(folder.name, models)


def test_on_another_disk_the_file_is_copied(written: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(*_: Any) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", other_disk)
    folder = add(written, models, name="mine").folder
    assert (folder / "mine.gguf").read_bytes() == written.read_bytes()


def test_a_file_without_4_bit_codes_is_not_kept(tmp_path: Path, models: Path) -> None:
    tiny_gguf(tmp_path / "tiny.gguf", "llama", "Q8_0")
    checkpoint = add(tmp_path / "tiny.gguf", models)
    assert not list(checkpoint.folder.glob("*.gguf"))
    assert checkpoint.open_codes() is None


@pytest.mark.parametrize("name", ["SmolLM2-135M", "Mine", "mine"])
def test_a_name_that_is_taken_is_refused(name: str, written: Path, models: Path) -> None:
    (models / "Mine").mkdir(parents=True)
    with pytest.raises(InvalidRequestError, match=r"There is a model called .* already"):
        add(written, models, name=name)
    assert visible(models) == {"Mine"}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/b", ".hidden", "-x", "dot.", "é", "n" * 101, "a\nb", "a\0"]
)
def test_a_name_that_is_none_is_refused(name: str, written: Path, models: Path) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be called"):
        add(written, models, name=name)
    assert not models.exists()


def test_any_file_name_makes_a_name() -> None:
    names = [name_for(Path(name)) for name in ("a b.gguf", "..gguf", "é🌍.gguf", "sha256-12", "x" * 300, "-.-.gguf")]
    assert names == ["a-b", "model", "model", "sha256-12", "x" * 100, "model"]
    for name in names:
        adding.check_name(name, Path("nowhere"))


def test_a_free_name_is_the_next_one_that_is_not_taken(models: Path) -> None:
    assert free_name("mine", models) == "mine"
    for name in ("mine", "Mine-2"):
        (models / name).mkdir(parents=True)
    assert free_name("mine", models) == "mine-3"
    assert free_name("smollm2-135m", models) == "smollm2-135m-2"
    (models / ("n" * 100)).mkdir()
    adding.check_name(free_name("n" * 100, models), models)


def test_what_is_no_file_is_said(tmp_path: Path, models: Path) -> None:
    with pytest.raises(UnknownModelError, match="is no file"):
        add(tmp_path / "none.gguf", models)
    with pytest.raises(UnknownModelError, match="is a folder"):
        add(tmp_path, models)
    with pytest.raises(UnknownModelError, match="no path"):
        look_at(Path("a\0b"))
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(UnknownModelError, match="is no file"):
        add(tmp_path / "pipe.gguf", models)
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(UnsupportedModelError, match=r"text\.gguf is not a GGUF file"):
        add(tmp_path / "text.gguf", models)


class CancelledError(Exception):
    """As a job's report raises."""


@pytest.mark.parametrize("stage", ["Checking the file", "Converting", "Opening the model"])
def test_a_cancel_leaves_nothing_behind(stage: str, written: Path, models: Path) -> None:
    def cancel(told: str, fraction: float) -> None:
        if told == stage:
            raise CancelledError

    with pytest.raises(CancelledError):
        add(written, models, cancel)
    assert visible(models) == set()


def test_a_file_that_becomes_shorter_meanwhile_is_refused(written: Path, models: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    shutil.copy(written, file)

    def shorten(told: str, fraction: float) -> None:
        os.truncate(file, 50_000)

    with pytest.raises(WeightsIntegrityError, match="cut short"):
        add(file, models, shorten)
    assert visible(models) == set()


def test_a_disk_that_fills_leaves_nothing_behind(written: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Iterator[bytes]:
        yield b"some"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(conversion, "decode_bf16", full)
    with pytest.raises(InstallError, match="Not enough disk space for Tiny-Model-Q4_0: it needs"):
        add(written, models)
    assert visible(models) == set()


def test_too_little_room_is_said_before_anything_is_written(
    written: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(InstallError, match="Not enough disk space"):
        add(written, models)
    assert visible(models) == set()


def test_what_an_attempt_left_that_was_killed_goes(written: Path, models: Path) -> None:
    (models / ".adding").mkdir(parents=True)
    (models / ".adding" / "model.safetensors").write_bytes(b"half")
    add(written, models, name="mine")
    assert visible(models) == {"mine"}


def test_the_summary_says_what_adding_gives(written: Path, tmp_path: Path, models: Path) -> None:
    folder = written.with_suffix("")
    write_gguf_of(folder, tmp_path / "licensed.gguf", general__license="apache-2.0")
    summary = look_at(tmp_path / "licensed.gguf")
    checkpoint = add(summary.path, models, name="mine")
    assert (summary.family, summary.parameters) == (checkpoint.family, checkpoint.parameters)
    assert summary.context_length == checkpoint.context_length
    assert summary.licence == "apache-2.0"
    assert next(model.licence for model in list_models(models) if model.name == "mine") == "apache-2.0"
    taken = sum(path.stat().st_size for path in checkpoint.folder.iterdir())
    assert taken <= summary.needed_bytes


def test_the_command_adds_and_says_what_it_added(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GEARBOX_DATA_DIR", str(tmp_path))
    assert run(["models", "add", str(written), "--name", "mine"]) == 0
    assert capsys.readouterr().out.startswith("mine: llama, 0 million weights, dequantized from Q4_0")
    assert run(["models", "add", str(written), "--name", "mine"]) == 2
    assert "There is a model called mine already" in capsys.readouterr().err
