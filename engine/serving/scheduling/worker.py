"""The one thread in which models compute, and who waits for it.

torch's thread pool and its inference mode belong to a thread, and Streamlit runs every rerun on another one. So all
model work happens here, one pass after the other, each for as many sequences as want it. A generation's caller holds
only an iterator over events; other work is called, and its caller waits. A caller that goes away cannot hold the
thread: closing or losing the handle cancels the run, and so does not reading it for a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from ctypes import c_int32
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from engine.errors import EngineClosedError
from engine.machine.memory import available_bytes
from engine.serving.scheduling.jobs import CLOSED, CallJob, Generation, GenerationJob, Job
from engine.serving.scheduling.line import WaitingLine
from engine.serving.scheduling.running import Running
from engine.types import GenerationRequest

if TYPE_CHECKING:  # they bring torch, which the first page must not wait for
    from engine.passes import Steps
    from engine.serving.scheduling.kv_room import KVRoom
    from engine.serving.scheduling.scheduler import Scheduler

T = TypeVar("T")

MOST_RUNNING = 16
"""Jobs that share passes, by default."""
_LOOKS_UP_S = 0.02
"""While everybody waits for a reader."""


class Worker:
    """Lets jobs begin in their order and does their passes, in one thread of its own."""

    def __init__(
        self,
        most_running: int = MOST_RUNNING,
        running_kv_bytes: int | None = None,
        make_room: Callable[[int], bool] = lambda needed: True,
    ) -> None:
        """
        Args:
            most_running: jobs that may share passes.
            running_kv_bytes: what their KV may take together; half of the memory that is free when the first begins,
                if not said.
            make_room: sees that so many bytes are free for it, or says that they are not.
        """
        self._make_room = make_room
        self._running_kv_bytes = running_kv_bytes
        self._line = WaitingLine(most_running)
        self._running: tuple[Job, ...] = ()
        self._kv_room: KVRoom | None = None
        self._somebody_waits = c_int32(0)
        """Not 0 once a job has come since the line was last looked at: what is being written ends with its token."""
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="inference", daemon=True)
        self._thread.start()

    def generate(self, request: GenerationRequest, serve: Callable[[GenerationJob], Steps[None]]) -> Generation:
        """Queue a request, and follow what ``serve`` makes of it.

        Raises:
            EngineClosedError: the worker has been closed.
        """
        job = GenerationJob(request, serve)
        self._submit(job)
        return Generation(job, partial(self._withdraw, job))

    def call(self, body: Callable[[Job], Steps[T]]) -> T:
        """Do something in the engine's thread when its turn comes, and wait for what it returns.

        Whatever it raises is raised here. Others' passes come between its own, and may be shared. Whoever is
        interrupted while waiting ends it before its next pass.

        Args:
            body: does it, told which job it is.

        Raises:
            EngineClosedError: the worker has been closed, before it began or since.
            RuntimeError: called in the engine's thread, which would wait for itself.
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
    def running(self) -> int:
        """Jobs that have begun."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """Jobs that have not."""
        return len(self._line)

    @property
    def kv_share(self) -> float:
        """How much of the memory for running sequences' KV they take, 0 to 1."""
        return self._kv_room.share if self._kv_room and self._running else 0.0

    @property
    def kv_bytes(self) -> int:
        """What running sequences' KV takes."""
        return self._kv_room.used_bytes if self._kv_room and self._running else 0

    @property
    def preemptions(self) -> int:
        """How often a running sequence had to give its KV back and read it again."""
        return self._kv_room.given_back if self._kv_room else 0

    def close(self) -> None:
        """Cancel everything and wait for the thread to end."""
        with self._changed:
            self._closed = True
            for job in (*self._line, *self._running):
                job.cancel()
            self._changed.notify()
        self._thread.join(timeout=10)

    def _submit(self, job: Job) -> None:
        with self._changed:
            if self._closed:
                raise EngineClosedError(CLOSED)
            self._line.add(job)
            self._somebody_waits.value = 1
            self._tell_places()
            self._changed.notify()

    def _withdraw(self, job: Job) -> None:
        """End a cancelled job at once if it has not begun."""
        with self._changed:
            if job not in self._line:
                return
            self._line.remove(job)
            self._tell_places()
        job.refuse()

    def _tell_places(self) -> None:
        for position, place in enumerate(self._line.places(self._running), start=len(self._running)):
            if position:
                place.job.waits(position, place.reason)

    def _next(self, scheduler: Scheduler | None) -> Job | None:
        """The job that may begin, if there is one. Waits for one while none runs; ``None`` then means the end."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._line) or self._running or self._closed)
            self._somebody_waits.value = 0
            job = self._line.next(self._running, memory_is_short=scheduler is not None and scheduler.has_parked)
            if job is not None:
                self._running = (*self._running, job)
                self._tell_places()
            return job

    def _ended(self, scheduler: Scheduler | None) -> None:
        """Jobs may have ended."""
        still = tuple(running.job for running in scheduler.running) if scheduler else ()
        if still != self._running:
            with self._changed:
                self._running = still
                self._tell_places()

    def _loop(self) -> None:
        scheduler: Scheduler | None = None
        while (job := self._next(scheduler)) is not None or self._running:
            if job is not None and job.is_cancelled():
                job.refuse()
            elif job is not None and (running := Running.begin(job)).wanted is not None:
                scheduler = scheduler or self._scheduler()
                scheduler.add(running)
            self._ended(scheduler)
            if self._running and scheduler and not scheduler.round(self._somebody_waits):
                with self._changed:
                    self._changed.wait(_LOOKS_UP_S)
            self._ended(scheduler)

    def _scheduler(self) -> Scheduler:
        from engine.serving.scheduling.kv_room import KVRoom
        from engine.serving.scheduling.scheduler import Scheduler

        most_bytes = available_bytes() // 2 if self._running_kv_bytes is None else self._running_kv_bytes
        self._kv_room = KVRoom(most_bytes, self._make_room)
        return Scheduler(self._kv_room)
