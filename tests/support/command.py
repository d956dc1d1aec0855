"""The command ``gearbox`` as somebody gives it, in a process of its own, on a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from app.settings import REPOSITORY
from app.store import RunStore
from tests.support.server import GEARBOX


def experiment(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Give ``gearbox experiment``; see :func:`gearbox`."""
    return gearbox(folder, "experiment", *arguments, **variables)


def gearbox(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Give it.

    Args:
        folder: the data folder.
        arguments: the command, its action and what it takes.
        variables: added to the environment.
    """
    environment = {name: value for name, value in os.environ.items() if name != "GEARBOX_DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-c", GEARBOX, *arguments],
        cwd=REPOSITORY, env=environment | {"GEARBOX_DATA_DIR": str(folder)} | variables,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def opened(folder: Path) -> closing[RunStore]:
    """What is kept there."""
    return closing(RunStore.open(f"sqlite:///{folder / 'gearbox.db'}"))


def runs(folder: Path) -> int:
    """How many runs are kept there."""
    with opened(folder) as store:
        return store.page().total


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines in which a command says what is wrong."""
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]
