"""``python -m engine COMMAND``: the commands of :mod:`engine.command_line`, without the app."""

from __future__ import annotations

from collections.abc import Callable

from engine.process import run_process


def _load() -> Callable[[], int]:
    from engine.command_line import run

    return run


if __name__ == "__main__":
    run_process(_load)
