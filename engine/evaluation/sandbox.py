"""A machine's own walls around code that a model wrote.

An answer's program and its tests run in two child processes (:mod:`engine.evaluation.walled`). Neither has a network,
sees another process, can start one, reads anything but Python's own files, or writes anything but a few MB of memory
that vanish with it; both are killed at the time limit. The tests call the program through a pipe and get plain data
back, so what they compare is never the program's own object, and only the tests' process can write a report.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic
from typing import IO

from engine.errors import SandboxUnavailableError
from engine.evaluation.walled import UP
from engine.evaluation.walled.plain import encode

TIME_LIMIT = 5.0
"""Seconds of wall time, Python's start among them."""
MEMORY_LIMIT = 512 * 2**20
"""Bytes of address space, for the program and for its tests."""
LONGEST = 1_000_000
"""Characters of a program."""
_REPORT_BYTES = 4096
_CLEARING_S = 10.0
"""Seconds within which killed processes are gone, or are left to the system."""
_START = "import sys; sys.path.insert(0, sys.argv[1]); from walled.launch import main; main()"
_FOLDER = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a program and its tests."""

    passed: bool
    reason: str = ""
    """Why it did not pass, in a line; empty where it did."""


def run_tests(
    program: str | tuple[str, ...], tests: str, entry: str, *, helpers: str = "", time_limit: float = TIME_LIMIT
) -> Verdict:
    """Run a Python program, then tests that call what it defines.

    Functions pass, and plain data: what Python's literals are made of, and a few types of the standard library. An
    object of a class that the program defines can be handed back to it, but not compared. Tests that evaluate a text
    that a program returned hand it their own process.

    Args:
        program: defines ``entry``; names it gives to Python's built-ins are not seen by the tests. Of several forms
            the one is run whose beginning is sound for most lines.
        tests: statements; they fail by raising.
        entry: name of the function that the tests call.
        helpers: definitions that the tests may use, whatever the program calls by the same names.
        time_limit: seconds of wall time.

    Raises:
        SandboxUnavailableError: this machine cannot wall the program in. Nothing that a program does raises it.
    """
    missing = why_not()
    if missing:
        raise SandboxUnavailableError(missing)
    if max(map(len, [program] if isinstance(program, str) else program)) > LONGEST:
        return Verdict(False, f"it is longer than {LONGEST:,} characters")
    return _run(program, tests, entry, helpers, time_limit)


def why_not() -> str | None:
    """Why this machine cannot run code checks, in the user's words; ``None`` where it can."""
    try:
        _try()
    except SandboxUnavailableError as error:
        return str(error)
    return None


@cache
def _try() -> None:
    """Run a harmless program; once that has worked it is not tried again."""
    if sys.platform != "linux":
        raise SandboxUnavailableError("Code from a model is run on Linux only, where it can be walled in.")
    verdict = _run("def f():\n    return 1", "assert f() == 1", "f", "", 4 * TIME_LIMIT)
    if not verdict.passed:
        raise SandboxUnavailableError(f"A harmless program did not run in the sandbox: {verdict.reason}.")


def _run(program: str | tuple[str, ...], tests: str, entry: str, helpers: str, time_limit: float) -> Verdict:
    deadline = monotonic() + time_limit
    job = encode((program, tests, entry, helpers), [])
    with _started(job) as (walls, report):
        # no byte of the job is read before the walls stand and their channel is closed
        state = _read(walls, deadline)
        if state is not None and state != 2 * UP:
            raise SandboxUnavailableError(_in_words(state))
        return _verdict(None if state is None else _read(report, deadline), time_limit)


@contextmanager
def _started(job: bytes) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The sandbox at work: what it says of its walls, and its report. At the end all its processes are gone.

    Raises:
        SandboxUnavailableError: it could not be started.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="gearbox-") as folder, tempfile.TemporaryFile() as stdin:
            stdin.write(job)
            stdin.seek(0)
            with subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, _FOLDER, str(MEMORY_LIMIT)],
                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env={}, start_new_session=True,
            ) as child:  # fmt: skip
                assert child.stdout is not None
                assert child.stderr is not None
                try:
                    yield child.stderr, child.stdout
                finally:
                    _end(child)
    except OSError as error:
        raise SandboxUnavailableError(
            f"The sandbox for code from a model could not be started: {error.strerror or error}."
        ) from error


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()  # it then kills and waits for those behind the walls
    try:
        child.wait(_CLEARING_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # not yet waited for, so the group is still there
        child.wait()


def _read(pipe: IO[bytes], deadline: float) -> bytes | None:
    """What is written until all writers have closed it, or too much of it; ``None`` past the deadline."""
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(data) < _REPORT_BYTES:
            if not selector.select(max(0.0, deadline - monotonic())):
                return None
            part = os.read(pipe.fileno(), _REPORT_BYTES - len(data))
            if not part:
                break
            data += part
    return data


def _verdict(report: bytes | None, time_limit: float) -> Verdict:
    if report is None:
        return Verdict(False, f"it took longer than {time_limit:g} s")
    if report == b"passed":
        return Verdict(True)
    if report.startswith(b"failed "):
        return Verdict(False, report.removeprefix(b"failed ").decode("utf-8", "replace"))
    return Verdict(False, "it ended before its tests were done")


def _in_words(state: bytes) -> str:
    """Why the walls do not stand."""
    lines = state.replace(UP, b"").decode("utf-8", "replace").split("\n")
    said = [line for line in lines if line.strip()]
    if not said:
        return "The sandbox for code from a model ended before its walls stood. Is this machine short of memory?"
    return f"Code from a model cannot be run safely on this machine: {said[-1].strip()}."
