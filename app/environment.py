"""What the app can say of the ground it runs on; the engine adds device, threads and libraries."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from pathlib import Path

from app.settings import REPOSITORY

_GIT_TIMEOUT_S = 5.0


def app_environment() -> dict[str, str | None]:
    """The code's commit and the interpreter that runs it, as it is stored with every run."""
    return {
        "git_commit": git_commit(REPOSITORY),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


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
