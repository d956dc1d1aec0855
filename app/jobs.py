"""Work that takes minutes, done on threads of its own while pages come and go."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Literal

from engine.errors import GearboxError

log = logging.getLogger(__name__)

Report = Callable[[str, float], None]
"""Called by the work as ``report(stage, fraction)``, from any thread; raises where the work has been cancelled.

Work that goes on where an earlier job stopped begins with a fraction above 0.
"""
Work = Callable[[Report], object]
Status = Literal["running", "done", "failed", "cancelled"]

_FIRST_ESTIMATE = 0.03
"""The share that must be done before the rest is estimated from it."""


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job stands."""

    status: Status
    stage: str = "Starting"
    fraction: float = 0.0
    """Done so far, 0 to 1."""
    error: str | None = None
    """Why it failed, for the user."""
    begun: float = field(default_factory=monotonic, compare=False)
    begun_at: float | None = field(default=None, compare=False)
    """The fraction first reported: what an earlier job had done."""

    @property
    def remaining_s(self) -> float | None:
        """Seconds still to go if it goes on as it did; ``None`` while too little is done to tell."""
        done = self.fraction - (self.begun_at or 0.0)
        if not self.running or done < _FIRST_ESTIMATE:
            return None
        return (monotonic() - self.begun) * (1 - self.fraction) / done

    @property
    def running(self) -> bool:
        """Whether it still goes on."""
        return self.status == "running"


class JobCancelled(Exception):  # noqa: N818 (not an error: somebody asked for it)
    """Ends a job's work from inside its report."""


class Jobs:
    """Runs at most one job for each key, each on a thread that never outlives the process.

    Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, JobState] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._cancelled: set[str] = set()

    def submit(self, key: str, work: Work) -> bool:
        """Start ``work``, unless a job of this key is running; says whether it was started."""
        with self._lock:
            state = self._states.get(key)
            if state and state.running:
                return False
            self._states[key] = JobState("running")
            self._cancelled.discard(key)
            thread = threading.Thread(target=self._run, args=(key, work), name=f"job {key}", daemon=True)
            self._threads[key] = thread
        thread.start()
        return True

    def state(self, key: str) -> JobState | None:
        """How the last job of this key stands; ``None`` if there was none."""
        with self._lock:
            return self._states.get(key)

    def cancel(self, key: str) -> None:
        """Ask a job to stop; it does at its next report."""
        with self._lock:
            self._cancelled.add(key)

    def close(self, timeout_s: float = 5.0) -> None:
        """Ask all jobs to stop, and give each that long to clean up."""
        with self._lock:
            self._cancelled.update(self._states)
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(timeout_s)

    def _run(self, key: str, work: Work) -> None:
        def report(stage: str, fraction: float) -> None:
            with self._lock:
                if key in self._cancelled:
                    raise JobCancelled
                state = self._states[key]
                begun_at = fraction if state.begun_at is None else state.begun_at
                self._states[key] = replace(state, stage=stage, fraction=fraction, begun_at=begun_at)

        try:
            work(report)
        except JobCancelled:
            self._end(key, "cancelled")
        except GearboxError as error:
            self._end(key, "failed", str(error))
        except Exception as error:  # nobody is above this frame: the page shows it
            log.exception("job %s failed", key)
            self._end(key, "failed", f"Unexpected error: {error!r}. The server's log has the details.")
        else:
            self._end(key, "done")

    def _end(self, key: str, status: Status, error: str | None = None) -> None:
        with self._lock:
            self._states[key] = replace(self._states[key], status=status, error=error)


class Steps:
    """Progress counted in steps of about the same length."""

    def __init__(self, report: Report, *, done: int, total: int) -> None:
        self._report = report
        self._done = done
        self._total = max(total, 1)
        self._stage = ""

    def at(self, stage: str, *, finished: bool = False) -> None:
        """Tell what is done next; raises where the job has been cancelled."""
        self._stage = stage
        self._report(stage, 1.0 if finished else self._fraction)

    def advance(self) -> None:
        """One more step is done."""
        self._done += 1

    def loading(self, stage: str, _fraction: float) -> None:
        """Tell what the engine loads for this step."""
        self._report(stage, self._fraction)

    def meanwhile(self, loading: str | None) -> None:
        """Look whether to go on inside of a step; tell what is loaded for it, where something is."""
        self._report(loading or self._stage, self._fraction)

    def still(self, *_progress: object) -> None:
        """Look whether to go on inside of a step."""
        self._report(self._stage, self._fraction)

    @property
    def _fraction(self) -> float:
        return min(self._done / self._total, 1.0)
