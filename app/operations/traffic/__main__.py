"""``python -m app.operations.traffic``: see :mod:`app.operations.traffic.command_line`."""

from __future__ import annotations

from collections.abc import Callable

from engine.process import run_process


def _load() -> Callable[[], int]:
    from app.operations.traffic.command_line import run

    return run


if __name__ == "__main__":
    run_process(_load)
