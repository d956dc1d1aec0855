"""A hub on this machine with a checkpoint and a GGUF file of random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_hub import FakeHub, Repository, fake_hub
from tests.support.gguf_files import tiny_gguf
from tests.support.tiny import make_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("hub") / "tiny", "qwen3")


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hub") / "Tiny.Q4_0.gguf"
    tiny_gguf(path, "llama", "Q4_0")
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, tiny_file: Path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch) as hub:
        hub.repositories["org/tiny"] = Repository.of_folder(
            tiny_folder,
            tags=["license:apache-2.0"],
            downloads=1234,
            safetensors={"parameters": {"BF16": 100_000}, "total": 100_000},
        )
        hub.repositories["org/tiny-GGUF"] = Repository(
            {tiny_file.name: tiny_file.read_bytes(), "mmproj-tiny.gguf": b"no", "big-00001-of-00002.gguf": b"no"},
            {"gguf": {"architecture": "llama", "total": 100_000}, "cardData": {"license": "mit"}},
        )
        yield hub
