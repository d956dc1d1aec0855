"""Memory that is short: who finds too little waits until another one has ended, instead of failing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from engine.errors import InsufficientMemoryError
from engine.passes import Steps, Wait, ask
from engine.serving.memory.holding import Hold
from engine.serving.scheduling.jobs import Job

T = TypeVar("T")


class Room:
    """Who is at work, and holds memory that others may be waiting for. Used by the engine's thread alone."""

    def __init__(self) -> None:
        self._at_work: list[Job] = []
        """Jobs that have begun, but for those that wait for memory."""
        self._ended = 0
        """Jobs that were."""

    @contextmanager
    def at_work(self, job: Job) -> Iterator[None]:
        """A job is at work while a block runs."""
        self._at_work.append(job)
        try:
            yield
        finally:
            self._at_work.remove(job)
            self._ended += 1

    def once_there_is_room(self, job: Job, work: Callable[[bool], Steps[T]], hold: Hold | None = None) -> Steps[T]:
        """What needs memory; while others are at work, it waits for theirs instead of failing.

        Args:
            job: whose it is.
            work: does it, told whether others are at work.
            hold: of the job; what the work has added to it is let go while it waits.

        Raises:
            InsufficientMemoryError: there is not enough, with nobody else at work, or whoever ends.
        """
        while True:
            others, ended, held = len(self._at_work) > 1, self._ended, len(hold) if hold else 0
            try:
                return (yield from work(others))
            except InsufficientMemoryError as error:
                if not others or error.is_final or job.is_cancelled():
                    raise
                if hold:
                    hold.release(held)
            if self._ended == ended and len(self._at_work) > 1:
                yield from self._until_one_ends(job)

    def _until_one_ends(self, job: Job) -> Steps[None]:
        ended = self._ended
        self._at_work.remove(job)  # two that wait for one another would wait for ever
        job.waits(0, "It waits for memory that other requests use.")
        try:
            yield from ask(Wait(lambda: self._ended != ended))
        finally:
            self._at_work.append(job)
