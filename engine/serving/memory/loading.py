"""Slow work on a model's files, in a thread beside the engine's: others' tokens go on meanwhile.

Only the work itself is done there. Who wants it, what memory it is promised and what becomes of it is decided in the
engine's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch

from engine.machine.disturbance import stand_behind_engine_threads
from engine.models.sources.progress import Progress
from engine.passes import Outcome, Steps, Wait, ask, outcome_of

T = TypeVar("T")


class NobodyWaitsError(Exception):
    """Ends work from inside that nobody wants any more."""


class Errand(Generic[T]):
    """Work in a thread of its own, for one who wants it or several."""

    def __init__(self, key: Hashable, stage: str, work: Callable[[Progress], T], needed_bytes: int = 0) -> None:
        """
        Args:
            key: the same for work that gives the same.
            stage: what is being done, until the work tells.
            work: told where to tell how far it is; that ends it once nobody wants it.
            needed_bytes: memory that it will have taken in the end.
        """
        self.key = key
        self.told = (stage, 0.0)
        """What it told last: a stage, and the fraction done."""
        self.outcome: Outcome | None = None
        """What came of it, once it is over."""
        self._needed_bytes = needed_bytes
        self._wanted_by = 0
        self._is_taken = False
        self._is_given_up = False
        self._thread = threading.Thread(target=self._run, args=(work,), name="loading", daemon=True)

    @property
    def promised_bytes(self) -> int:
        """Of the memory that it needs, what it has not taken yet, by the fraction done."""
        if self._is_given_up or self.outcome is not None:
            return 0
        return int(self._needed_bytes * (1 - self.told[1]))

    @property
    def is_done(self) -> bool:
        """Whether it is over, and what came of it is in good hands."""
        return self.outcome is not None and (self._is_taken or not self._wanted_by)

    def serves(self, key: Hashable) -> bool:
        """Whether somebody who wants work of a key can have this."""
        return self.key == key and not self._is_given_up

    def follow(self, progress: Progress) -> Steps[T]:
        """Wait for it; what it raises is raised here, for each who waits.

        Args:
            progress: told how far it is, in the engine's thread; what it raises comes out here, and ends the work if
                nobody else wants it.
        """
        with self._wanted():
            while self.outcome is None:
                told = self.told
                progress(*told)
                yield from ask(Wait(lambda told=told: self.outcome is not None or self.told != told))  # type: ignore[misc]
            self._is_taken = True
            if self.outcome.error is not None:
                raise self.outcome.error
            result: T = self.outcome.result
            return result

    def join(self, timeout_s: float) -> None:
        """Wait for its thread to end."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    @contextmanager
    def _wanted(self) -> Iterator[None]:
        self._wanted_by += 1
        if self._thread.ident is None and self.outcome is None:
            try:
                self._thread.start()
            except RuntimeError as error:  # the system gives no more threads
                self.outcome = Outcome(error=error)
        try:
            yield
        finally:
            self._wanted_by -= 1
            self._is_given_up = not self._wanted_by

    def _run(self, work: Callable[[Progress], T]) -> None:
        stand_behind_engine_threads()
        with torch.inference_mode():
            outcome = outcome_of(lambda: work(self._tell))
        # what nobody wants any more is let go at once
        self.outcome = Outcome(error=NobodyWaitsError()) if self._is_given_up else outcome

    def _tell(self, stage: str, fraction: float) -> None:
        if self._is_given_up:
            raise NobodyWaitsError
        self.told = (stage, fraction)


class Errands:
    """One errand at a time. Used by the engine's thread alone."""

    def __init__(self) -> None:
        self._current: Errand[Any] | None = None
        self._reserved = ""
        """What nothing is to be done beside."""

    @property
    def promised_bytes(self) -> int:
        """Memory that will be taken by what is being done."""
        return self._current.promised_bytes if self._current else 0

    @property
    def is_idle(self) -> bool:
        """Whether another errand can begin."""
        if self._current is not None and self._current.is_done:
            self._current = None
        return self._current is None and not self._reserved

    @contextmanager
    def reserved(self, stage: str) -> Iterator[None]:
        """No errand begins while a block runs; none is being done.

        Args:
            stage: what is being done instead.
        """
        assert self.is_idle
        self._reserved = stage
        try:
            yield
        finally:
            self._reserved = ""

    def turn(self, key: Hashable, progress: Progress) -> Steps[None]:
        """Wait until an errand of a key can begin, or is being done.

        Args:
            key: the errand's; ``None`` waits until nothing is being done.
            progress: told that it waits; what it raises comes out here.
        """
        while not self._is_turn_of(key):
            stage = self._current.told[0] if self._current else self._reserved
            progress(f"Waiting: {stage}", 0.0)
            yield from ask(Wait(lambda: self._is_turn_of(key)))

    def run(self, key: Hashable, begin: Callable[[], Errand[T]], progress: Progress) -> Steps[T]:
        """What comes of an errand whose turn it is: of the one that is being done, or of a new one.

        Args:
            key: the errand's.
            begin: makes it; what it raises comes out here.
            progress: as for :meth:`Errand.follow`.
        """
        if self.is_idle:
            self._current = begin()
        errand: Errand[T] | None = self._current
        assert errand is not None
        assert errand.serves(key)
        return (yield from errand.follow(progress))

    def close(self, timeout_s: float) -> None:
        """Wait for the thread of what is being done to end; nobody is to want it any more."""
        if self._current is not None:
            self._current.join(timeout_s)

    def _is_turn_of(self, key: Hashable) -> bool:
        return self.is_idle or (self._current is not None and self._current.serves(key))
