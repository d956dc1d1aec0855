"""What transformers makes of a folder's small files is read by it once, and then from what was kept."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from engine.errors import WeightsIntegrityError
from engine.models import opening
from engine.models.checkpoint import Checkpoint, resolve
from engine.models.format.decoder_config import DecoderConfig
from engine.models.kept import KEPT_FILE
from engine.models.tokenization.fast_tokenizer import FastTokenizer
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.types import Message
from tests.support.tiny import LLAMA3_ROPE, make_tiny_checkpoint

MESSAGES = [Message("system", "Be brief."), Message("user", "Ça va? <|im_end|> e\u0301 你好")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tiny_checkpoint(tmp_path / "tiny", "llama", rope_parameters=LLAMA3_ROPE)
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that transformers was asked to read, one after the other."""
    names: list[str] = []
    usual = opening.read_decoder_config

    def count(name: str, *rest: Any) -> DecoderConfig:
        names.append(name)
        return usual(name, *rest)

    monkeypatch.setattr(opening, "read_decoder_config", count)
    return names


def checkpoint(folder: Path) -> Checkpoint:
    return resolve("tiny", folder)


def opened(folder: Path) -> tuple[DecoderConfig, ChatTokenizer]:
    found = checkpoint(folder)
    return opening.open_small_files(found, found.kept_in(folder / ".packed"))


def kept(folder: Path) -> Path:
    (path,) = (folder / ".packed").glob(f"*/{KEPT_FILE}*")
    return path


def assert_same(first: tuple[DecoderConfig, ChatTokenizer], second: tuple[DecoderConfig, ChatTokenizer]) -> None:
    (config, tokenizer), (other_config, other) = first, second
    assert config == other_config
    assert tokenizer.encode_chat(MESSAGES) == other.encode_chat(MESSAGES)
    for what in ("vocab_size", "stop_ids", "fingerprint", "bos_id", "control_tokens"):
        assert getattr(tokenizer, what) == getattr(other, what)


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_the_second_time_is_as_the_first_without_transformers(tmp_path: Path, family: Any, read: list[str]) -> None:
    overrides = {"sliding_window": 64} if family == "mistral" else {}
    make_tiny_checkpoint(tmp_path / "tiny", family, **overrides)
    first = opened(tmp_path)
    assert_same(first, opened(tmp_path))
    assert read == ["tiny"]
    assert kept(tmp_path).stat().st_size


def rewritten(change: Callable[[list[bytes]], None]) -> Callable[[Path], None]:
    """Alters the parts of what is kept, with a checksum that suits them."""

    def alter(path: Path) -> None:
        _, *parts = path.read_bytes().split(b"\n", 3)
        change(parts)
        data = b"\n".join(parts)
        path.write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)

    return alter


def with_settings(part: int, **settings: Any) -> Callable[[Path], None]:
    def change(parts: list[bytes]) -> None:
        parts[part] = json.dumps(json.loads(parts[part]) | settings).encode()

    return rewritten(change)


def tokenizer_cut_short(parts: list[bytes]) -> None:
    parts[2] = parts[2][:100]


@pytest.mark.parametrize(
    "alter",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"inv_freq"', b'"inv_frec"')),
        with_settings(0, identity="another"),
        with_settings(0, norm_eps="none"),
        with_settings(0, windows=[None]),
        with_settings(0, windows=[None, -1]),
        with_settings(0, inv_freq=[1.0]),
        with_settings(0, inv_freq=None),
        with_settings(1, vocab_size=-5),
        with_settings(1, template=7),
        with_settings(1, further=1),
        with_settings(1, variables=[]),
        rewritten(tokenizer_cut_short),
        rewritten(lambda parts: parts.clear()),
    ],
)
def test_what_is_kept_is_read_anew_where_it_was_altered(
    folder: Path, read: list[str], alter: Callable[[Path], object]
) -> None:
    first, written = opened(folder), kept(folder).read_bytes()
    alter(kept(folder))
    assert_same(first, opened(folder))
    assert read == ["tiny", "tiny"]
    assert kept(folder).read_bytes() == written


def test_a_vocabulary_beyond_the_table_is_refused_from_what_is_kept_too(folder: Path) -> None:
    opened(folder)
    with_settings(1, vocab_size=10**6)(kept(folder))
    with pytest.raises(WeightsIntegrityError, match="its tokenizer has a token with the id 999,999"):
        opened(folder)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "tokenizer.json", "generation_config.json", "new.jinja"])
def test_files_that_changed_are_read_anew(folder: Path, read: list[str], name: str) -> None:
    opened(folder)
    with (folder / "tiny" / name).open("a") as file:
        file.write("\n")
    opened(folder)
    assert read == ["tiny", "tiny"]


@pytest.mark.parametrize("library", ["transformers", "tokenizers", "torch"])
def test_another_version_of_what_computes_it_reads_anew(
    folder: Path, read: list[str], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(folder)
    monkeypatch.setattr(opening, "version", lambda name: "99" if name == library else version(name))
    opened(folder)
    assert read == ["tiny", "tiny"]


def test_folders_of_the_same_weights_keep_their_own(folder: Path, read: list[str]) -> None:
    shutil.copytree(folder / "tiny", folder / "twin")
    first, twin = (resolve(name, folder) for name in ("tiny", "twin"))
    assert first.kept_in(folder) == twin.kept_in(folder)
    for found in (first, twin, first, twin):
        opening.open_small_files(found, found.kept_in(folder / ".packed"))
    assert read == ["tiny", "twin"]


def test_a_tokenizer_that_fails_once_it_is_used_is_the_models_fault(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tokenizer: FastTokenizer) -> None:
        raise RuntimeError("no such token")

    monkeypatch.setattr(opening, "ChatTokenizer", fail)
    with pytest.raises(WeightsIntegrityError, match="tiny: This model's tokenizer fails: no such token"):
        opened(folder)


def test_what_cannot_be_kept_is_read_every_time(
    folder: Path, read: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (folder / ".packed").write_text("a file where the folder should be, as a full disk leaves none")
    with caplog.at_level(logging.WARNING):
        assert_same(opened(folder), opened(folder))
    assert read == ["tiny", "tiny"]
    assert "could not be kept" in caplog.text
