"""What all that write into the models folder share: one at a time, room enough, and plain words where there is not."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import InstallError
from engine.models.sources.progress import Progress

SMALL_FILES_BYTES = 32 << 20
"""Room for the tokenizer and the rest of the small files."""

_LOCK_POLL_S = 0.5


@contextmanager
def one_at_a_time(path: Path, progress: Progress, waiting: str) -> Iterator[None]:
    """Hold a lock that all processes know by its file; told as ``waiting`` while another one has it."""
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=_LOCK_POLL_S)
            break
        except Timeout:
            progress(waiting, 0.0)
    try:
        yield
    finally:
        lock.release()


def check_room(name: str, models_dir: Path, needed: int) -> None:
    """Whether so many bytes are free.

    Raises:
        InstallError: they are not.
    """
    free = shutil.disk_usage(models_dir).free
    if free < needed:
        raise InstallError(_disk_full(name, models_dir, needed, free))


@contextmanager
def plain_disk_errors(name: str, models_dir: Path, needed: Callable[[], int]) -> Iterator[None]:
    """Says in words what the system says in numbers.

    Raises:
        InstallError: writing or reading failed; where the disk is full, it says how many bytes are ``needed``.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(models_dir).free
            raise InstallError(_disk_full(name, models_dir, needed(), free)) from error
        raise InstallError(f"{name} could not be installed in {models_dir}: {error}.") from error


def _disk_full(name: str, models_dir: Path, needed: int, free: int) -> str:
    return (
        f"Not enough disk space for {name}: it needs {needed / 2**20:,.0f} MiB in {models_dir}, "
        f"and {free / 2**20:,.0f} MiB are free. Free some space and install it again."
    )
