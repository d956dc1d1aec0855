"""Who is next: first come, first served, but nobody's second request before another's first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

from engine.serving.scheduling.jobs import Job


class Place(NamedTuple):
    """Where a job stands."""

    job: Job
    reason: str
    """What it waits for, in the user's words."""


class WaitingLine:
    """Jobs that have not begun. Whoever uses it from several threads holds a lock."""

    def __init__(self, most_running: int) -> None:
        """
        Args:
            most_running: jobs that may run at once.
        """
        self._most_running = most_running
        self._waiting: list[Job] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Job]:
        return iter(tuple(self._waiting))

    def add(self, job: Job) -> None:
        """Let a job wait."""
        self._waiting.append(job)

    def remove(self, job: Job) -> None:
        """It waits no longer."""
        self._waiting.remove(job)

    def next(self, running: Collection[Job], *, memory_is_short: bool = False) -> Job | None:
        """The job that may begin beside those that run; ``None`` while there is none. It waits no longer then.

        Args:
            running: those that have begun.
            memory_is_short: whether some of them wait to go on.
        """
        first = next(iter(self._in_order(running)), None)
        if first is None or self._held_up(first, running) or (running and memory_is_short):
            return None
        self._waiting.remove(first)
        return first

    def places(self, running: Collection[Job]) -> list[Place]:
        """Everybody, in the order in which they will begin."""
        order = self._in_order(running)
        reasons = [self._held_up(job, running) for job in order]
        ahead = (f"{_count(order[:place])} before it." for place in range(len(order)))
        return [Place(job, reason or first) for job, reason, first in zip(order, reasons, ahead, strict=True)]

    def _in_order(self, running: Collection[Job]) -> list[Job]:
        """By how many requests of the same session run or came before, then by arrival: sessions take turns."""
        before = Counter(job.session for job in running)
        turns: list[tuple[int, int, Job]] = []
        for arrival, job in enumerate(self._waiting):
            turns.append((before[job.session], arrival, job))
            before[job.session] += 1
        return [job for _, _, job in sorted(turns, key=lambda turn: turn[:2])]

    def _held_up(self, job: Job, running: Collection[Job]) -> str:
        """What keeps a job from beginning now, apart from those before it; empty where nothing does."""
        if any(other.exclusive for other in running):
            return "Another request has the engine alone: its times are compared."
        if job.exclusive and running:
            return f"Its times are compared, so it waits to have the engine alone: {_count(running)} still running."
        if len(running) >= self._most_running:
            return f"{_count(running)} running, as many as may run at once."
        return ""


def _count(running: Collection[Job]) -> str:
    return "1 request is" if len(running) == 1 else f"{len(running)} requests are"
