"""Templates, patterns and schemas that strangers wrote, run in processes of their own that cannot do without end.

A process has a limit of time, of memory and of what it may answer; it is killed and replaced when it goes beyond.
The caller waits without holding the interpreter, and can give up. The other side is ``confined_child.py``.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Literal
from weakref import WeakSet

import psutil

MEMORY_BYTES = 512 * 2**20
"""What a process may take beyond what it begins with."""
POLL_S = 0.05
"""How often a caller that waits is asked whether it still wants to."""
_START_S = 60.0
_STARVED = 5
"""How much longer a job may take that has not had half of its time on a processor."""
_LONGEST_REPLY = 64 * 2**20
_PROCESSES = 4
_KEPT = 2
_CHILD = Path(__file__).with_name("confined_child.py")


class BeyondLimitsError(Exception):
    """A job went beyond its limits. The message is a predicate: "took longer than 3 s and was stopped"."""


class ForeignError(Exception):
    """What a stranger's text raised."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        """The exception's class."""
        self.text = text
        super().__init__(text or kind)


def patient() -> None:
    """Waits as long as the limits allow."""


class Confined:
    """Processes for one kind of job. Safe from any thread: each job has a process of its own while it runs."""

    def __init__(self, kind: Literal["templates", "patterns", "grammars"], seconds: float) -> None:
        """Starts nothing yet.

        Args:
            kind: which jobs the processes know; see ``confined_child.py``.
            seconds: of a job. Where other work keeps the processors busy it may take five times as long.
        """
        self._kind = kind
        self._seconds = seconds
        self._idle: list[_Process] = []
        self._begin()
        _all.add(self)

    def start(self) -> None:
        """Have a process ready, without waiting for it."""
        with self._lock:
            if not self._idle:
                try:
                    self._idle.append(_Process(self._kind, self._seconds))
                except OSError:
                    return  # the next job will say so

    def run(self, function: str, arguments: Mapping[str, Any], waiting: Callable[[], object] = patient) -> Any:
        """Do a job and wait for it.

        Args:
            function: of ``confined_child.py``.
            arguments: its keyword arguments, JSON.
            waiting: called every 50 ms meanwhile; what it raises ends the job and comes out here.

        Raises:
            BeyondLimitsError: it took too long, too much memory, or wrote or recursed too much.
            ForeignError: it raised something.
        """
        request = json.dumps({"function": function, "arguments": arguments}).encode() + b"\n"
        while not self._slots.acquire(timeout=POLL_S):
            waiting()
        try:
            return self._run(request, waiting)
        finally:
            self._slots.release()

    def close(self) -> None:
        """End the processes that wait for jobs. A later job starts a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    def forget(self) -> None:
        """Let go of the processes there are: they belong to the parent, and this is a fork of it."""
        for process in self._idle:
            process.abandon()
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_PROCESSES)
        self._idle = []

    def _run(self, request: bytes, waiting: Callable[[], object]) -> Any:
        process = self._take()
        outcome: dict[str, Any] = {}
        try:
            outcome = process.ask(request, waiting)
        finally:
            if "value" in outcome or "error" in outcome:
                self._keep(process)
            else:
                process.end()
                self.start()  # so that the next job finds one
        if "error" in outcome:
            raise ForeignError(*outcome["error"])
        if "beyond" in outcome:
            raise BeyondLimitsError(outcome["beyond"])
        return outcome["value"]

    def _take(self) -> _Process:
        while True:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None:
                try:
                    return _Process(self._kind, self._seconds)
                except OSError as error:
                    raise BeyondLimitsError(f"could not be run ({error.strerror})") from error
            if process.is_alive:
                return process
            process.end()

    def _keep(self, process: _Process) -> None:
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append(process)
                return
        process.end()


class _Process:
    """One process, and a thread that talks to it: pipes cannot be waited for with a limit on every system."""

    def __init__(self, kind: str, seconds: float) -> None:
        self._seconds = seconds
        self._is_ready = False
        self._popen = subprocess.Popen(
            [sys.executable, "-I", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in ("TZ", "SYSTEMROOT") if name in os.environ},
            cwd=_CHILD.parent,
            start_new_session=True,  # Ctrl+C is for its parent
        )
        hello = {"kind": kind, "seconds": _STARVED * seconds, "memory": MEMORY_BYTES, "path": sys.path}
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._requests.put(json.dumps(hello).encode() + b"\n")
        self._thread = threading.Thread(target=self._talk, name=f"confined {kind}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def ask(self, request: bytes, waiting: Callable[[], object]) -> dict[str, Any]:
        """What comes of a request: ``value``, ``error`` (class and text) or ``beyond`` (a predicate)."""
        if not self._is_ready:
            if not self._reply(_START_S, waiting):
                return {"beyond": "could not be run: the process for it did not start"}
            self._is_ready = True
        used = self._processor_s()
        self._requests.put(request)
        reply = self._reply(self._seconds, waiting)
        if reply is None and self._processor_s() - used < self._seconds / 2:
            reply = self._reply((_STARVED - 1) * self._seconds, waiting)
        if reply is None:
            return {"beyond": f"took longer than {self._seconds:g} s and was stopped"}
        if not reply.endswith(b"\n"):
            return {"beyond": "broke the process that it ran in"}
        outcome: dict[str, Any] = json.loads(reply.decode("utf-8", "replace"))
        return outcome

    def end(self) -> None:
        """Kill it, and leave nothing of it."""
        self._popen.kill()
        self._popen.wait()
        self._requests.put(None)
        self._thread.join(timeout=5)
        self._close_pipes()

    def abandon(self) -> None:
        """Let go of a process that is the parent's: this is a fork of it."""
        self._popen.returncode = 0  # not to be waited for here
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # what was still to be written has no reader

    def _processor_s(self) -> float:
        try:
            times = psutil.Process(self._popen.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def _reply(self, seconds: float, waiting: Callable[[], object]) -> bytes | None:
        """The next reply, empty if the process has ended; ``None`` past the limit."""
        deadline = monotonic() + seconds
        while (left := deadline - monotonic()) > 0:
            try:
                return self._replies.get(timeout=min(left, POLL_S))
            except queue.Empty:
                waiting()
        return None

    def _talk(self) -> None:
        stdin, stdout = self._popen.stdin, self._popen.stdout
        assert stdin is not None  # both are pipes
        assert stdout is not None
        reply = b""
        while (request := self._requests.get()) is not None:
            try:
                stdin.write(request)
                stdin.flush()
                reply = stdout.readline(_LONGEST_REPLY)
            except OSError:
                reply = b""
            self._replies.put(reply)
            if not reply:
                return


_all: WeakSet[Confined] = WeakSet()


def _close_all() -> None:
    for confined in list(_all):
        confined.close()


def _forget_all() -> None:
    for confined in list(_all):
        confined.forget()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
