"""The one inference thread, its queue, and the handle by which a caller follows one run.

torch's thread pool and its inference mode belong to a thread, and Streamlit runs every rerun on
another one. So all model work happens here, one run after the other, and what callers hold is only
an iterator over events. A caller that goes away cannot hold the thread: closing or losing the
handle cancels the run, and so does not reading it for a while.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import perf_counter

from engine.errors import EngineClosedError
from engine.types import Event, GenerationRequest, Heartbeat, Queued, RunFailed, RunFinished

log = logging.getLogger(__name__)

HEARTBEAT_S = 0.2
BUFFERED_EVENTS = 1024
ABANDONED_AFTER_S = 30.0
"""A run whose full buffer nobody reads for so long is cancelled."""


class Job:
    """A run as the two threads share it."""

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.arrived = perf_counter()
        self.events: queue.Queue[Event] = queue.Queue(BUFFERED_EVENTS)
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def emit(self, event: Event) -> None:
        """Hand an event over. Waits for a slow reader; once cancelled, makes room instead."""
        deadline = perf_counter() + ABANDONED_AFTER_S
        while True:
            try:
                self.events.put(event, timeout=HEARTBEAT_S)
                return
            except queue.Full:
                if perf_counter() > deadline:
                    self.cancel()
                if self.is_cancelled():
                    self._drop_oldest()

    def notify(self, event: Event) -> None:
        """Hand over an event that may be lost: a newer one will follow."""
        with suppress(queue.Full):
            self.events.put_nowait(event)

    def _drop_oldest(self) -> None:
        with suppress(queue.Empty):
            self.events.get_nowait()


class Generation(Iterator[Event]):
    """One run's events. Ends after :class:`RunFinished` or :class:`RunFailed`."""

    def __init__(self, job: Job, discard: Callable[[Job], None]) -> None:
        self._job = job
        self._discard = discard
        self._ended = False

    def __next__(self) -> Event:
        """The next event; a heartbeat when there has been none for 0.2 s."""
        if self._ended:
            raise StopIteration
        try:
            event = self._job.events.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            return Heartbeat(perf_counter() - self._job.arrived)
        self._ended = isinstance(event, RunFinished | RunFailed)
        return event

    def cancel(self) -> None:
        """Ask the run to stop. Its last event still comes, within a token or a chunk of prefill."""
        self._job.cancel()
        self._discard(self._job)

    def close(self) -> None:
        """Cancel, and read no further."""
        self.cancel()
        self._ended = True

    def __del__(self) -> None:
        self._job.cancel()


class Worker:
    """Runs jobs in the order of their arrival, in one thread of its own."""

    def __init__(self, serve: Callable[[Job], None], refuse: Callable[[Job], None]) -> None:
        """
        Args:
            serve: does a job, up to its last event; runs in the worker's thread.
            refuse: ends a job that was cancelled while it waited.
        """
        self._serve = serve
        self._refuse = refuse
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="inference", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a request.

        Raises:
            EngineClosedError: the worker has been closed.
        """
        job = Job(request)
        with self._changed:
            if self._closed:
                raise EngineClosedError("The engine has been shut down.")
            self._waiting.append(job)
            self._tell_positions()
            self._changed.notify()
        return Generation(job, self._withdraw)

    @property
    def is_running(self) -> bool:
        return self._running is not None

    @property
    def queued(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """Cancel everything and wait for the thread to end."""
        with self._changed:
            self._closed = True
            for job in (*self._waiting, *([self._running] if self._running else ())):
                job.cancel()
            self._changed.notify()
        self._thread.join(timeout=10)

    def _withdraw(self, job: Job) -> None:
        """End a cancelled job at once if it has not begun."""
        with self._changed:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
            self._tell_positions()
        self._refuse(job)

    def _tell_positions(self) -> None:
        ahead = 1 if self._running else 0
        for position, job in enumerate(self._waiting, start=ahead):
            if position:
                job.notify(Queued(position))

    def _next(self) -> Job | None:
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._running = self._waiting.popleft()
            self._tell_positions()
            return self._running

    def _loop(self) -> None:
        while (job := self._next()) is not None:
            if job.is_cancelled():
                self._refuse(job)
                continue
            try:
                self._serve(job)
            except Exception as error:  # a defect in one run must not end all later ones
                log.exception("a run failed unexpectedly")
                job.emit(RunFailed(f"Unexpected error in the engine: {error}", type(error).__name__))
