"""What is computed once, in the background, while pages come and go."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from app.background.jobs import Jobs, JobState, Report

Value = TypeVar("Value")


class Computed(Generic[Value]):
    """Values by the key of the job that computes them; the latest are kept. Safe to use from any thread."""

    def __init__(self, jobs: Jobs, *, most: int = 64) -> None:
        """Let ``jobs`` compute, and keep at most so many values."""
        self._jobs = jobs
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[str, Value] = OrderedDict()

    def value(self, key: str) -> Value | None:
        """What came out; ``None`` until something has."""
        with self._lock:
            return self._values.get(key)

    def ask(self, key: str, compute: Callable[[Report], Value]) -> Value | JobState:
        """What came out, or else how its job stands, which is started if need be. One that failed or was cancelled
        is not started again: `start` does that."""
        job = self._jobs.state(key)  # looked at first: one that is done has left its value
        with self._lock:
            if key in self._values:
                return self._values[key]
        if job is not None and job.status != "done":
            return job
        self.start(key, compute)  # not begun yet, or done so long ago that others took its place
        return JobState("running")

    def forget(self, key: str) -> None:
        """What came out does not stand any more: who asks next waits for what comes out anew."""
        with self._lock:
            self._values.pop(key, None)

    def start(self, key: str, compute: Callable[[Report], Value]) -> bool:
        """Compute, also where that failed before or is done: until then, what came out before stands.

        Says whether it was started: it is not while it goes on already.
        """

        def work(report: Report) -> None:
            value = compute(report)
            with self._lock:
                self._values[key] = value
                self._values.move_to_end(key)
                while len(self._values) > self._most:
                    self._values.popitem(last=False)

        return self._jobs.submit(key, work)
