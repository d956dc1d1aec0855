"""The ``gearbox`` command: what it offers, what it refuses, and how it serves."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NoReturn

import pytest

from app.cli import _load
from app.settings import REPOSITORY
from tests.support.server import GEARBOX


def gearbox(*arguments: str, data_dir: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GEARBOX, *arguments],
        cwd=REPOSITORY, env=os.environ | {"GEARBOX_DATA_DIR": str(data_dir)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_engine_s_commands_and_run_are_offered(tmp_path: Path) -> None:
    done = gearbox("--help", data_dir=tmp_path)
    assert done.returncode == 0
    assert all(f"    {command} " in done.stdout for command in ("run", "models", "kernels", "generate", "evaluate"))


def test_models_are_listed_as_by_the_engine(tiny_models_dir: Path) -> None:
    done = gearbox("models", data_dir=tiny_models_dir.parent)
    alone = subprocess.run(
        [sys.executable, "-m", "engine", "models"],
        cwd=REPOSITORY, env=os.environ | {"GEARBOX_DATA_DIR": str(tiny_models_dir.parent)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, alone.stdout)
    assert "tiny" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("models", "--wrong"), "--wrong"),
        (("run", "--port", "many"), "many"),
        (("wrong",), "wrong"),
    ],
)
def test_what_is_not_understood_is_named_in_one_line(arguments: tuple[str, ...], named: str, tmp_path: Path) -> None:
    done = gearbox(*arguments, data_dir=tmp_path)
    assert done.returncode == 2
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_run_serves_from_the_project_with_the_data_folder_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []

    def become(program: str, arguments: list[str]) -> NoReturn:
        became.append(arguments)
        raise SystemExit(0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setenv("GEARBOX_DATA_DIR", "data")
    monkeypatch.setattr(sys, "argv", ["gearbox", "run", "--port", "8600", "--server.maxUploadSize", "7"])
    with pytest.raises(SystemExit):
        _load()()
    assert Path.cwd() == REPOSITORY
    assert os.environ["GEARBOX_DATA_DIR"] == str(tmp_path / "data")
    options = ["--server.port", "8600", "--server.maxUploadSize", "7"]
    assert became == [[sys.executable, "-m", "streamlit", "run", "app/server.py", *options]]


def test_the_package_gives_the_command() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"gearbox": "app.cli:main"}
