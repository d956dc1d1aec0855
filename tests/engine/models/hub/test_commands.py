"""The hub and the removal of a model from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import list_models
from engine.command_line import run
from engine.machine import bandwidth
from tests.support.fake_hub import FakeHub, Repository


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEARBOX_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(bandwidth, "BUFFER_BYTES", 1 << 20)
    return tmp_path / "models"


def test_from_a_search_to_a_model_and_back(hub: FakeHub, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repositories["org/tiny-bert"] = Repository({"model.safetensors": b""}, {"config": {"model_type": "bert"}})
    assert run(["models", "search", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("org/tiny ")
    assert "apache-2.0" in lines[0]
    assert any("family bert" in line for line in lines)
    assert run(["models", "look", "org/tiny"]) == 0
    out = capsys.readouterr().out
    assert "apache-2.0" in out
    assert "int4" in out
    assert "tok/s (estimated)" in out
    assert run(["models", "download", "org/tiny", "--name", "mine"]) == 0
    assert "mine: qwen3" in capsys.readouterr().out
    assert run(["models", "download", "org/tiny-GGUF"]) == 0
    assert "Tiny.Q4_0: llama" in capsys.readouterr().out
    assert run(["models", "download", "org/tiny", "--name", "mine"]) == 2
    assert "called mine already" in capsys.readouterr().err
    assert run(["models", "remove", "mine"]) == 1
    assert "--yes removes" in capsys.readouterr().out
    assert run(["models", "remove", "mine", "--yes"]) == 0
    out = capsys.readouterr().out
    assert "frees" in out
    assert str(models / "mine") in out
    assert [each.name for each in list_models(models) if not each.in_catalog] == ["Tiny.Q4_0"]
    assert run(["models", "remove", "mine", "--yes"]) == 2


def test_what_is_meant_must_be_said(hub: FakeHub, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repositories["org/tiny-GGUF"].files["Other.gguf"] = b"x"
    assert run(["models", "look", "org/tiny-GGUF"]) == 2
    assert "Tiny.Q4_0.gguf (0 MiB)" in capsys.readouterr().err
    assert run(["models", "look", "org/tiny-GGUF", "--file", "Tiny.Q4_0.gguf"]) == 0
    assert "mit" in capsys.readouterr().out
    assert run(["models", "look", "org/tiny", "--file", "none.gguf"]) == 2
    assert "no GGUF file" in capsys.readouterr().err
    hub.status = 502
    assert run(["models", "search", "tiny"]) == 1
    err = capsys.readouterr().err
    assert "cannot be reached" in err
    assert "Traceback" not in err
