"""How a command line ends as a process: an interrupt is one line at any moment, a reader that left (``| head -1``)
none, and what a terminal cannot show does not stop the work.

Nothing but the standard library is imported before that holds.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO

from engine.importing import begin_imports, imports_done

FAILED = 1
INTERRUPTED = 130
READER_GONE = 141
"""As a shell says of a program that SIGPIPE ended."""


def run_process(load: Callable[[], Callable[[], int]]) -> NoReturn:
    """Run a command line and end the process with its exit code: 0, 1 for a failure, 2 for bad input, 130 interrupted,
    141 if the reader of the output has left.

    Args:
        load: imports what runs the command that this process was started with, and gives it.
    """
    signal.signal(signal.SIGINT, _leave)  # while libraries are imported there is nothing to clean up
    code: int | None = None
    try:
        sys.stdout, sys.stderr = _forgiving(sys.stdout, "replace"), _forgiving(sys.stderr, "backslashreplace")
        begin_imports()
        run = load()
        imports_done()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            code = run()
        except SystemExit as exit_:  # argparse's
            code = exit_.code if isinstance(exit_.code, int) else FAILED
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except KeyboardInterrupt:
        _leave()
    except BrokenPipeError:
        os._exit(READER_GONE)
    except OSError as error:  # the disk that stdout goes to is full, say
        os.write(2, f"error: {error}\n".encode())
        os._exit(FAILED)
    sys.exit(code)


def _forgiving(stream: TextIO | None, errors: str) -> TextIO:
    """A stream that replaces what its encoding does not have; in place of a closed one, one that keeps nothing."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 (for as long as the process lives)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)
    return stream


def _leave(*_: object) -> NoReturn:
    """End at once. Threads of libraries may be at work, and the interpreter's own end would wait for them."""
    os.write(2, b"error: interrupted\n")
    os._exit(INTERRUPTED)
