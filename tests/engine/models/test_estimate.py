"""What weights take is reckoned in another process, and what fails there is told in words."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from engine import estimate_weights
from engine.errors import GearboxError, InsufficientMemoryError
from engine.models.format.architecture import Architecture
from engine.models.format.gate import read_config
from tests.conftest import REPOSITORY
from tests.support.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_checkpoint(folder / "tiny", "llama")
    return folder


@pytest.fixture(autouse=True)
def no_torch(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an application that has run no model yet."""
    monkeypatch.delitem(sys.modules, "torch")


@pytest.mark.parametrize("script", ["echo 'out of luck' >&2; kill -ABRT $$", "echo Welcome!", "exit 3"])
def test_a_process_that_fails_is_told_of_in_one_sentence(
    models: Path, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(GearboxError) as caught:
        estimate_weights("tiny", models)
    assert str(caught.value) == "What memory the model takes could not be worked out. Gearbox's log says why."
    (record,) = caplog.records
    assert ("out of luck" in record.getMessage()) == ("luck" in script)


def test_no_process_is_started_that_has_no_room(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.machine.memory.address_space_left", lambda: 2**20)
    monkeypatch.setattr(sys, "executable", "/nowhere")
    with pytest.raises(InsufficientMemoryError, match="ulimit -v"):
        estimate_weights("tiny", models)


CHATTY = """
import os
from engine.models import estimate

def reckon(*_):
    print("Welcome!")
    os.system("echo Welcome!")
    return {"int4": estimate.WeightsEstimate(7, 5)}

estimate._estimate = reckon
estimate._main()
print("Goodbye!")
"""


def test_what_libraries_print_is_no_part_of_the_answer(models: Path) -> None:
    architecture = Architecture.from_config("tiny", read_config(models / "tiny"))
    asked = json.dumps({"architecture": asdict(architecture), "device": "cpu"})
    done = subprocess.run(
        [sys.executable, "-c", CHATTY], cwd=REPOSITORY, input=asked, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"int4": {"bytes": 7, "bytes_a_token": 5}}
