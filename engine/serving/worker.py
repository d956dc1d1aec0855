"""The one inference thread, its queue, and how callers follow what they have queued.

torch's thread pool and its inference mode belong to a thread, and Streamlit runs every rerun on
another one. So all model work happens here, one job after the other. A generation's caller holds
only an iterator over events; other work is called in short units, and its caller waits. A caller
that goes away cannot hold the thread: closing or losing the handle cancels the run, and so does not
reading it for a while.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from ctypes import c_int32
from time import perf_counter
from typing import Generic, TypeVar

from engine.errors import EngineClosedError
from engine.serving.event_buffer import EventBuffer
from engine.types import Event, GenerationRequest, Heartbeat, Queued, RunFailed, RunFinished

log = logging.getLogger(__name__)

T = TypeVar("T")

HEARTBEAT_S = 0.2
BUFFERED_EVENTS = 1024
ABANDONED_AFTER_S = 30.0
"""A run whose full buffer nobody reads for so long is cancelled."""
CLOSED = "The engine has been shut down."


class Job(ABC):
    """A unit of work in the queue, as the two threads share it."""

    def __init__(self) -> None:
        self.arrived = perf_counter()
        self.interrupt = c_int32(0)
        """Not 0 once it is cancelled; kernels at work look at it between two tokens."""

    def cancel(self) -> None:
        self.interrupt.value = 1

    def is_cancelled(self) -> bool:
        return self.interrupt.value != 0

    @abstractmethod
    def run(self) -> None:
        """Do it, in the worker's thread."""

    @abstractmethod
    def refuse(self) -> None:
        """End a job that was cancelled before it began."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """End a job whose run raised."""

    def moved_up(self, position: int) -> None:  # noqa: B027 (few jobs need to know)
        """Told how many jobs come first, whenever that changes."""


class GenerationJob(Job):
    """One answer in the making: a request goes in, events come out of a bounded queue."""

    def __init__(self, request: GenerationRequest, serve: Callable[[GenerationJob], None]) -> None:
        """
        Args:
            request: what is asked for.
            serve: does the job up to its last event; runs in the worker's thread.
        """
        super().__init__()
        self.request = request
        self.events = EventBuffer(BUFFERED_EVENTS)
        self._serve = serve

    def run(self) -> None:
        self._serve(self)

    def refuse(self) -> None:
        self.emit([RunFinished("", (), "abort", None, {})])

    def fail(self, error: BaseException) -> None:
        log.error("a run failed unexpectedly", exc_info=error)
        self.emit([RunFailed(f"Unexpected error in the engine: {error}", type(error).__name__)])

    def moved_up(self, position: int) -> None:
        self.notify(Queued(position))

    def emit(self, events: Sequence[Event]) -> None:
        """Hand events over. Waits for a slow reader; once cancelled, makes room instead."""
        deadline = perf_counter() + ABANDONED_AFTER_S
        while not self.events.put(events, HEARTBEAT_S):
            if perf_counter() > deadline:
                self.cancel()
            if self.is_cancelled():
                self.events.drop_oldest(len(events))

    def notify(self, event: Event) -> None:
        """Hand over an event that may be lost: a newer one will follow."""
        self.events.put([event])


class CallJob(Job, Generic[T]):
    """A function called in the worker's thread; its result, or what it raised, goes to the caller."""

    def __init__(self, body: Callable[[], T]) -> None:
        super().__init__()
        self.outcome: Future[T] = Future()
        self._body = body

    def run(self) -> None:
        self.outcome.set_result(self._body())

    def refuse(self) -> None:
        self.outcome.set_exception(EngineClosedError(CLOSED))

    def fail(self, error: BaseException) -> None:
        self.outcome.set_exception(error)


class Generation(Iterator[Event]):
    """One run's events. Ends after :class:`RunFinished` or :class:`RunFailed`."""

    def __init__(self, job: GenerationJob, discard: Callable[[Job], None]) -> None:
        self._job = job
        self._discard = discard
        self._arrived: deque[Event] = deque()
        self._ended = False

    def __next__(self) -> Event:
        """The next event; a heartbeat when there has been none for 0.2 s."""
        if self._ended:
            raise StopIteration
        if not self._arrived:
            self._arrived.extend(self._job.events.get(HEARTBEAT_S))
        if not self._arrived:
            return Heartbeat(perf_counter() - self._job.arrived)
        event = self._arrived.popleft()
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

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="inference", daemon=True)
        self._thread.start()

    def generate(self, request: GenerationRequest, serve: Callable[[GenerationJob], None]) -> Generation:
        """Queue a request, and follow what ``serve`` makes of it.

        Raises:
            EngineClosedError: the worker has been closed.
        """
        job = GenerationJob(request, serve)
        self._submit(job)
        return Generation(job, self._withdraw)

    def call(self, body: Callable[[], T]) -> T:
        """Call a function in the worker's thread when its turn comes, and wait for what it returns.

        Whatever it raises is raised here. Other jobs wait as long as it takes: keep it short.

        Raises:
            EngineClosedError: the worker has been closed, before or while this waited.
            RuntimeError: called in the worker's thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("the inference thread cannot wait for itself")
        job = CallJob(body)
        self._submit(job)
        try:
            return job.outcome.result()
        finally:  # the waiting itself may have been interrupted
            job.cancel()
            self._withdraw(job)

    @property
    def is_closed(self) -> bool:
        return self._closed

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

    def _submit(self, job: Job) -> None:
        with self._changed:
            if self._closed:
                raise EngineClosedError(CLOSED)
            self._waiting.append(job)
            self._tell_positions()
            self._changed.notify()

    def _withdraw(self, job: Job) -> None:
        """End a cancelled job at once if it has not begun."""
        with self._changed:
            if job not in self._waiting:
                return
            self._waiting.remove(job)
            self._tell_positions()
        job.refuse()

    def _tell_positions(self) -> None:
        ahead = 1 if self._running else 0
        for position, job in enumerate(self._waiting, start=ahead):
            if position:
                job.moved_up(position)

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
                job.refuse()
                continue
            try:
                job.run()
            except BaseException as error:  # noqa: BLE001 (one job's defect, a library's panic too, must not end all later ones)
                job.fail(error)
