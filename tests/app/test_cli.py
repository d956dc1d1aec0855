"""The ``gearbox`` command: what it offers, what it refuses, and how it serves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from app.cli import _load
from app.doors.hashing import matches
from app.doors.keys import KeyLimits, prefix_of
from app.settings import REPOSITORY, Settings
from app.store import KeyStore
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
    assert became == [[sys.executable, "-m", "app.launch", "run", "app/server.py", *options]]


def test_the_package_gives_the_command() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"gearbox": "app.cli:main"}


@pytest.mark.slow
def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    assert "no keys yet" in gearbox("keys", "list", data_dir=tmp_path).stderr
    made = gearbox("keys", "create", "Anna's notebook", "--queue", "0", "--concurrent", "none", data_dir=tmp_path)
    secret = made.stdout.strip()
    assert (made.returncode, prefix_of(secret) is not None) == (0, True)
    listed = gearbox("keys", "list", data_dir=tmp_path).stdout
    assert re.fullmatch(rf"{secret[:12]}  made \S+  used never +Anna's notebook\n", listed)
    assert secret not in listed
    with closing(KeyStore.open(f"sqlite:///{tmp_path / 'gearbox.db'}")) as keys:
        key = keys.check(secret)
        assert key is not None
        assert key.limits == KeyLimits(queue=0, concurrent=None)
        revoked = gearbox("keys", "revoke", secret[:12], data_dir=tmp_path)
        assert revoked.stdout == f"{secret[:12]} (Anna's notebook) is revoked.\n"
        assert keys.check(secret) is None
    assert "revoked" in gearbox("keys", "list", data_dir=tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("keys",), 2, "ACTION"),
        (("keys", "create"), 2, "name"),
        (("keys", "create", " "), 1, "name"),
        (("keys", "create", "x", "--queue", "many"), 2, "many"),
        (("keys", "create", "x", "--concurrent", "0"), 1, "limit"),
        (("keys", "revoke", "gbx_00000000"), 1, "no key"),
    ],
)
def test_keys_that_cannot_be_made_or_ended_are_told_in_one_line(
    arguments: tuple[str, ...], code: int, named: str, tmp_path: Path
) -> None:
    done = gearbox(*arguments, data_dir=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_password_becomes_a_hash_that_stands_for_it(tmp_path: Path) -> None:
    def hash_of(password: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", GEARBOX, "password"], input=f"{password}\n",
            cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    done = hash_of("correct horse")
    assert done.returncode == 0
    assert matches(done.stdout.strip(), "correct horse")
    short = hash_of("short")
    assert (short.returncode, short.stdout) == (1, "")
    assert "at least 8 characters" in short.stderr


def test_a_secret_key_is_made_that_the_settings_take(tmp_path: Path) -> None:
    done = gearbox("secret-key", data_dir=tmp_path)
    assert done.returncode == 0
    assert Settings.from_env({"GEARBOX_SECRET_KEY": done.stdout}).secret_keys == (done.stdout.strip(),)


def test_run_switches_the_api_on_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def become(program: str, arguments: list[str]) -> NoReturn:
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setattr(os, "chdir", lambda folder: None)
    for options, value in (([], "0"), (["--api"], "1")):
        monkeypatch.setenv("GEARBOX_API", "0")
        monkeypatch.setattr(sys, "argv", ["gearbox", "run", *options])
        with pytest.raises(SystemExit):
            _load()()
        assert os.environ["GEARBOX_API"] == value
