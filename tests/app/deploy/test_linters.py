"""The tools that know the formats of docs/deploy, in an environment of their own."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import pytest

from app.settings import REPOSITORY

DEPLOY = REPOSITORY / "docs" / "deploy"
LINTERS = (
    ("hadolint", "Containerfile"),
    ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"),
    ("kubernetes-validate", "kubernetes.yaml"),
)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that they are in."""
    folder = tmp_path_factory.mktemp("linters")
    venv.create(folder, with_pip=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r"]
    subprocess.run([*install, REPOSITORY / "requirements-deploy.txt"], check=True)
    return folder / "bin"


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", LINTERS, ids=lambda command: command[-1])
def test_a_linter_finds_nothing(programs: Path, command: tuple[str, ...]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        [programs / command[0], *command[1:]], cwd=DEPLOY, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
