"""A process with nothing in it but the engine, or with one more thread that never stops computing in Python.

``python -m tests.benchmarks.screen.engine_alone MODELS_DIR`` answers each line it reads on stdin with one of JSON: the
times of a run, which for the line "busy" shares its process with such a thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

from app.resources import SWITCH_INTERVAL_S
from app.settings import REPOSITORY
from engine import Engine
from engine.types import RunFinished
from tests.benchmarks.screen.request import Times, request, times_of


class EngineAlone:
    """Such a process, asked from outside."""

    def __init__(self, models_dir: Path, threads: int | None = None) -> None:
        """
        Args:
            models_dir: where the models are.
            threads: of the engine; ``None`` lets it choose.
        """
        options = [] if threads is None else ["--threads", str(threads)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.screen.engine_alone", str(models_dir), *options],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask()  # loads the model
        self.ask()

    def ask(self, *, busy: bool = False) -> Times:
        """One run."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("busy\n" if busy else "alone\n")
        self._process.stdin.flush()
        return Times(*json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=30)


@contextmanager
def _busy_thread() -> Iterator[None]:
    done = threading.Event()

    def count() -> None:
        number = 0
        while not done.is_set():
            number += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _ask(engine: Engine) -> Times:
    *_, last = engine.generate(request())
    if not isinstance(last, RunFinished):
        raise RuntimeError(last)
    return times_of(last)


def main() -> None:
    """Answer until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as the app has it
    with closing(Engine(options.models_dir, threads=options.threads)) as engine:
        for line in sys.stdin:
            if line.strip() == "busy":
                with _busy_thread():
                    times = _ask(engine)
            else:
                times = _ask(engine)
            print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
