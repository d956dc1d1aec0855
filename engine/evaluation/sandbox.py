"""A machine's own walls around code that a model wrote.

The code runs in a child process (:mod:`engine.evaluation.sandboxed`) that has no network, sees no
other process, can start none, reads nothing but Python's own files, writes nothing but a few MB of
memory that vanish with it, and is killed at its time limit. The tests run in the same process, so
code that set out to read the harness's open files could claim to have passed them; it could not get
out.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic

from engine.errors import SandboxUnavailableError

TIME_LIMIT = 5.0
"""Seconds of wall time, Python's start among them."""
MEMORY_LIMIT = 512 * 2**20
"""Bytes of address space."""
_REPORT_BYTES = 4096
_CHILD = Path(__file__).with_name("sandboxed.py")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a program and its tests."""

    passed: bool
    reason: str = ""
    """Why it did not pass, in a line; empty where it did."""


def run_tests(program: str, tests: str, entry: str, *, time_limit: float = TIME_LIMIT) -> Verdict:
    """Run a Python program, then tests that use what it defines.

    Args:
        program: defines ``entry``; names it gives to Python's built-ins are not seen by the tests.
        tests: statements; they fail by raising.
        entry: name of the function that the tests call.
        time_limit: seconds of wall time.

    Raises:
        SandboxUnavailableError: this machine cannot wall the program in.
    """
    missing = why_not()
    if missing:
        raise SandboxUnavailableError(missing)
    return _run(program, tests, entry, time_limit)


@cache
def why_not() -> str | None:
    """Why this machine cannot run code checks, in the user's words; ``None`` where it can."""
    if sys.platform != "linux":
        return "Code from a model is run on Linux only, where it can be walled in."
    try:
        verdict = _run("def f():\n    return 1", "assert f() == 1", "f", 4 * TIME_LIMIT)
    except SandboxUnavailableError as error:
        return str(error)
    return None if verdict.passed else f"A harmless program did not run in the sandbox: {verdict.reason}."


def _run(program: str, tests: str, entry: str, time_limit: float) -> Verdict:
    secret = secrets.token_hex(16)
    secret_end, ours = os.pipe()
    try:
        os.write(ours, secret.encode())
    finally:
        os.close(ours)
    job = {"program": program, "tests": tests, "entry": entry, "secret": secret_end, "memory": MEMORY_LIMIT}
    with tempfile.TemporaryDirectory(prefix="gearbox-") as folder, tempfile.TemporaryFile() as stdin:
        stdin.write(json.dumps(job).encode())
        stdin.seek(0)
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", str(_CHILD)],
                stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                cwd=folder, env={}, pass_fds=[secret_end], start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(secret_end)
        try:
            report = _report(child, monotonic() + time_limit)
        finally:
            os.killpg(child.pid, signal.SIGKILL)  # not yet waited for, so the group is still there
            child.wait()
            if child.stdout:
                child.stdout.close()
    return _verdict(report, secret, time_limit)


def _report(child: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """What the child wrote until it closed its end or wrote too much; ``None`` past the deadline."""
    assert child.stdout is not None
    report = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while len(report) < _REPORT_BYTES:
            if not selector.select(max(0.0, deadline - monotonic())):
                return None
            part = os.read(child.stdout.fileno(), _REPORT_BYTES - len(report))
            if not part:
                break
            report += part
    return report


def _verdict(report: bytes | None, secret: str, time_limit: float) -> Verdict:
    if report is None:
        return Verdict(False, f"it took longer than {time_limit:g} s")
    if report == b"passed " + secret.encode():
        return Verdict(True)
    walls = b"walls " + secret.encode()  # the code could write the first word, but not the second
    if report.startswith(walls):
        text = report.removeprefix(walls).decode("utf-8", "replace").strip()
        raise SandboxUnavailableError(f"Code from a model cannot be run safely on this machine: {text}.")
    if report.startswith(b"failed "):
        return Verdict(False, report.removeprefix(b"failed ").decode("utf-8", "replace"))
    return Verdict(False, "it ended before its tests were done")
