"""The work of removing a model, for a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.background.jobs import Report, Work
from engine import Engine, remove_model


def removing(name: str, models_dir: Path, engine: Callable[[], Engine]) -> Work:
    """The work of taking a model out of memory and off the disk; it fails, and nothing goes, while a request runs with
    it.

    Args:
        name: the model's.
        models_dir: where it is.
        engine: gives the one engine, which may hold it in memory.
    """

    def work(report: Report) -> None:
        report("Waiting for the engine", 0.0)
        engine().unload(name)
        report("Removing", 0.5)
        remove_model(name, models_dir)

    return work


def removal_key(name: str) -> str:
    """The key of the job that removes a model."""
    return f"remove {name}"
