"""What waits for the engine's thread, and how its caller follows it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from ctypes import c_int32
from time import perf_counter
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from engine.errors import EngineClosedError
from engine.serving.scheduling.event_buffer import EventBuffer
from engine.types import Event, GenerationRequest, Heartbeat, Queued, RunFailed, RunFinished, is_shared

if TYPE_CHECKING:  # passes bring torch, which the first page must not wait for
    from engine.passes import Steps

log = logging.getLogger(__name__)

T = TypeVar("T")

HEARTBEAT_S = 0.2
BUFFERED_EVENTS = 1024
CLOSED = "The engine has been shut down."


class Company:
    """With how many others a sequence has shared its passes."""

    def __init__(self) -> None:
        self._passes = self._sequences = 0

    def count(self, sequences: int, passes: int = 1) -> None:
        """So many passes were done for so many sequences, this one among them."""
        self._passes += passes
        self._sequences += passes * sequences

    @property
    def mean_batch_size(self) -> float | None:
        """Sequences in a pass, this one included; ``None`` before the first."""
        return self._sequences / self._passes if self._passes else None

    @property
    def is_shared(self) -> bool:
        """Whether others shared so many of its passes that its times are not its own."""
        return is_shared(self.mean_batch_size)


class Job(ABC):
    """Work for the engine's thread, as the two threads share it."""

    session = ""
    """Whose it is: nobody's later job goes before another's earlier one."""
    exclusive = False
    """Whether it is to have the engine alone."""
    tells_its_end = True
    """Whether it has something to say once it is cancelled; else it is dropped before its next pass."""

    def __init__(self) -> None:
        self.arrived = perf_counter()
        self.interrupt = c_int32(0)
        """Not 0 once it is cancelled; kernels at work look at it between two tokens."""
        self.company = Company()

    def cancel(self) -> None:
        self.interrupt.value = 1

    def is_cancelled(self) -> bool:
        return self.interrupt.value != 0

    def has_room(self) -> bool:
        """Whether its caller keeps up with what it is told."""
        return True

    @abstractmethod
    def steps(self) -> Steps[None]:
        """Do it, in the engine's thread."""

    @abstractmethod
    def refuse(self) -> None:
        """End a job that was cancelled before it began, or was dropped."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """End a job whose steps raised."""

    def waits(self, position: int, reason: str) -> None:  # noqa: B027 (few jobs need to know)
        """Told how many jobs come first and what is waited for, whenever that changes."""


class GenerationJob(Job):
    """One answer in the making: a request goes in, events come out of a bounded queue."""

    def __init__(self, request: GenerationRequest, serve: Callable[[GenerationJob], Steps[None]]) -> None:
        """
        Args:
            request: what is asked for.
            serve: does the job up to its last event; runs in the engine's thread.
        """
        super().__init__()
        self.request = request
        self.session = request.cache_salt
        self.exclusive = request.exclusive or not request.config.backend.info.shares_passes
        self.events = EventBuffer(BUFFERED_EVENTS)
        self._serve = serve

    def has_room(self) -> bool:
        return not self.events.is_full

    def steps(self) -> Steps[None]:
        return self._serve(self)

    def refuse(self) -> None:
        self.emit([RunFinished("", (), "abort", None, {})])

    def fail(self, error: BaseException) -> None:
        log.error("a run failed unexpectedly", exc_info=error)
        self.emit([RunFailed(f"Unexpected error in the engine: {error}", type(error).__name__)])

    def waits(self, position: int, reason: str) -> None:
        self.notify(Queued(position, reason))

    def emit(self, events: Sequence[Event]) -> None:
        """Hand events over. A slow reader is not waited for here: nothing is computed for it meanwhile."""
        self.events.put(events)

    def notify(self, event: Event) -> None:
        """Hand over an event that may be lost: a newer one will follow."""
        if not self.events.is_full:
            self.events.put([event])


class CallJob(Job, Generic[T]):
    """Work whose result, or what it raised, goes to the caller, who waits for it."""

    tells_its_end = False

    def __init__(self, body: Callable[[Job], Steps[T]]) -> None:
        """
        Args:
            body: does it, in the engine's thread; told which job it is.
        """
        super().__init__()
        self.outcome: Future[T] = Future()
        self._body = body

    def steps(self) -> Steps[None]:
        self.outcome.set_result((yield from self._body(self)))

    def refuse(self) -> None:
        self.outcome.set_exception(EngineClosedError(CLOSED))

    def fail(self, error: BaseException) -> None:
        self.outcome.set_exception(error)


class Answering(Protocol):
    """An answer in the making, as its reader sees it."""

    @property
    def arrived(self) -> float:
        """When it was asked for, by ``time.perf_counter``."""
        ...

    @property
    def events(self) -> EventBuffer:
        """What has come of it and was not read yet."""
        ...

    def cancel(self) -> None:
        """Ask it to end; its last event still comes."""
        ...


class Generation(Iterator[Event]):
    """One run's events. Ends after :class:`RunFinished` or :class:`RunFailed`."""

    def __init__(self, job: Answering, discard: Callable[[], object] = lambda: None) -> None:
        """
        Args:
            job: whose events these are.
            discard: called once it is cancelled, to end it where it has not begun.
        """
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
        self._discard()

    def close(self) -> None:
        """Cancel, and read no further."""
        self.cancel()
        self._ended = True

    def __del__(self) -> None:
        self._job.cancel()
