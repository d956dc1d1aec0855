"""The ``gearbox`` command: the engine's commands, and ``run``, which serves the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from engine.process import run_process

if TYPE_CHECKING:
    import argparse

_PATHS = ("GEARBOX_DATA_DIR", "GEARBOX_SHARED_PROMPTS")
"""Settings that are files or folders: relative ones mean the folder that the command was given in."""


def main() -> NoReturn:
    """Run the command that this process was started with."""
    run_process(_load)


def _load() -> Callable[[], int]:
    from engine.command_line import parser, run_options

    gearbox, commands = parser("gearbox", "An LLM inference playground and operations dashboard.")
    serve = commands.add_parser("run", help="serve the app", epilog="Further options are streamlit's own.")
    serve.add_argument("--port", type=int, default=8501, help="8501 unless given")
    serve.add_argument("--address", help="address to listen on; this machine's alone unless given")
    serve.set_defaults(command=_serve)

    def run() -> int:
        options, further = gearbox.parse_known_args()
        if further and options.command is not _serve:
            gearbox.error(f"unrecognized arguments: {' '.join(further)}")
        options.further = further
        return run_options(options)

    return run


def _serve(options: argparse.Namespace) -> int:
    """Become the server, in the folder whose ``.streamlit`` configures it."""
    import os
    import sys
    from pathlib import Path

    root = Path(__file__).resolve().parent.parent
    for name in _PATHS:
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).absolute())
    address = ["--server.address", options.address] if options.address else []
    command = ["streamlit", "run", "app/server.py", "--server.port", str(options.port), *address, *options.further]
    os.chdir(root)
    os.execv(sys.executable, [sys.executable, "-m", *command])
