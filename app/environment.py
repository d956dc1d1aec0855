"""What a run's figures hold for, as far as it is known before the run begins."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from app.settings import REPOSITORY
from engine import kernels_built, machine_environment

_GIT_TIMEOUT_S = 5.0
NOT_BUILT = "not built"
"""Of kernels of our own that this machine does not have, or not yet."""


def app_environment() -> dict[str, Any]:
    """The code's commit, the kernels' build, the machine and libraries, as stored with every run, however it ends."""
    kernels = kernels_built() or NOT_BUILT
    return {"git_commit": git_commit(REPOSITORY), "native_kernels": kernels, **machine_environment()}


def measured_here(environment: Mapping[str, Any], device: str) -> bool:
    """Whether figures with this environment were measured on this machine's processor and on the engine's device."""
    return environment.get("cpu") == machine_environment()["cpu"] and environment.get("device") == device


@cache
def git_commit(folder: Path) -> str | None:
    """The commit checked out in a folder, with "-dirty" where files differ from it.

    ``None`` where git or a repository is missing. Looked up once per folder.
    """
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
