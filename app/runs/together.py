"""Many answers asked for a few at a time: they share the engine's passes, and come several times sooner than one after
the other, each with the tokens that it has alone. Their times are not their own.

Each is followed on a thread of its own and handed over on the caller's, so that keeping and reporting need one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from app.runs.answers import RequestRefusedError
from app.runs.live_run import LiveRun
from engine.types import Loading

T = TypeVar("T")
R = TypeVar("R")

Watch = Callable[[LiveRun], object]
"""Told of a run at its events; what it raises ends the run."""

AT_ONCE = 8
"""Answers under way: half of what the engine runs at once by default, so that other people's begin without waiting."""
_SOONER = 2.0
"""Eight that write much come 1.6 to 2.7 times sooner (docs/measurements.md); those with long prompts gain less."""
_LOOKS_EVERY_S = 0.2


def sooner_on(device: str) -> float:
    """How many times sooner answers are taken to come together than one after the other, where that was not measured.
    On a GPU they take turns."""
    return _SOONER if device == "cpu" else 1.0


class _StoppedError(Exception):
    """Ends a run from inside its watch."""


@dataclass(slots=True, eq=False)
class _UnderWay(Generic[T]):
    """One answer under way."""

    item: T
    stopping: threading.Event
    run: LiveRun | None = None

    def watch(self, run: LiveRun) -> None:
        """On its thread: note its run, and end it once all are to end."""
        self.run = run
        if self.stopping.is_set():
            raise _StoppedError


@contextmanager
def answered_together(
    asked: Iterable[T],
    ask: Callable[[T, Watch], R],
    meanwhile: Callable[[Loading | None], object],
    *,
    at_once: int = AT_ONCE,
) -> Iterator[Iterator[tuple[T, R | RequestRefusedError]]]:
    """Have several things answered at once: gives each with its result, in whatever order these come. That the model
    cannot take a request is its result. When the block is left, however it is, nothing of it is under way any more.

    Args:
        asked: what is asked; the next is drawn when there is room for it.
        ask: has one answered, and tells its run to the function that it is given. Called on other threads.
        meanwhile: called every now and then with what is being loaded, on the thread that waits for results; what it
            raises comes out there.
        at_once: so many are under way at most.

    Raises:
        Exception: while results are waited for, whatever ``ask`` raises, but for refusals.
    """
    waiting, stopping = iter(asked), threading.Event()
    under_way: dict[Future[R], _UnderWay[T]] = {}

    def begin() -> None:
        for item in islice(waiting, at_once - len(under_way)):
            its = _UnderWay(item, stopping)
            under_way[_on_a_thread(partial(ask, item, its.watch))] = its

    def results() -> Iterator[tuple[T, R | RequestRefusedError]]:
        begin()
        while under_way:
            over, _ = wait(under_way, _LOOKS_EVERY_S, FIRST_COMPLETED)
            meanwhile(_loading(under_way.values()))
            ended = [(under_way.pop(future).item, future, future.exception()) for future in over]
            failures = [error for *_, error in ended if error and not isinstance(error, RequestRefusedError)]
            if not failures:  # the engine does not wait until whoever reads the results is done with them
                begin()
            for item, future, error in ended:
                if isinstance(error, RequestRefusedError):
                    yield item, error
                elif error is None:
                    yield item, future.result()
            if failures:
                raise failures[0]

    try:
        yield results()
    finally:
        stopping.set()
        wait(under_way)


def _on_a_thread(work: Callable[[], R]) -> Future[R]:
    """What comes of some work. Its thread never outlives the process, as one of an executor would."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (it is told to whoever waits for it)
            future.set_exception(error)

    threading.Thread(target=run, name="together", daemon=True).start()
    return future


def _loading(under_way: Iterable[_UnderWay[T]]) -> Loading | None:
    """What is being loaded for any of them."""
    return next((its.run.loading_now for its in under_way if its.run and its.run.loading_now), None)
