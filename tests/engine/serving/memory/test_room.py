"""Memory that is short: nobody fails while another may give some back, and no two wait for one another."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from engine.errors import InsufficientMemoryError
from engine.passes import Steps, Wait, ask
from engine.serving.memory.holding import Hold
from engine.serving.memory.room import Room
from engine.serving.scheduling.jobs import CallJob, Job


class Asking:
    """A job that needs memory: it takes some passes to find out whether there is enough."""

    is_hopeless = False

    def __init__(self, room: Room, in_use: list[Any], free: list[int], times: int = 1) -> None:
        self.hold = Hold(in_use)
        self.told: list[bool] = []
        self.job: Job = CallJob(self._body)
        self._room, self._free, self._times = room, free, times
        self.steps = self._body(self.job)

    def _body(self, job: Job) -> Steps[str]:
        with self._room.at_work(job):
            for _ in range(self._times):
                found = yield from self._room.once_there_is_room(job, self._work, self.hold)
                yield from ask(Wait(lambda: True))
            return found

    def _work(self, others: bool) -> Steps[str]:
        self.told.append(others)
        self.hold.add(self)  # type: ignore[arg-type]
        yield from ask(Wait(lambda: True))
        if not self._free[0]:
            raise InsufficientMemoryError("nothing is free", is_final=self.is_hopeless)
        self._free[0] -= 1
        return "enough"


def go_on(steps: Generator[Any, Any, str]) -> str | None:
    """What a sequence returns; ``None`` while it goes on."""
    try:
        next(steps)
    except StopIteration as end:
        return str(end.value)
    return None


def waits(steps: Generator[Any, Any, str]) -> bool:
    """Whether a sequence goes on to wait for others."""
    wanted = next(steps)
    return isinstance(wanted, Wait) and not wanted.is_over()


def test_it_waits_for_another_to_end_and_holds_nothing_meanwhile() -> None:
    room, in_use, free = Room(), list[Any](), [1]
    first, second = (Asking(room, in_use, free) for _ in range(2))
    assert go_on(first.steps) is None
    assert go_on(first.steps) is None  # has found enough
    assert go_on(second.steps) is None
    assert waits(second.steps)
    assert in_use == [first]
    assert go_on(first.steps) == "enough"
    free[0] = 1
    assert go_on(second.steps) is None
    assert go_on(second.steps) is None
    assert go_on(second.steps) == "enough"
    assert second.told == [True, False]


def test_what_could_not_fit_alone_waits_for_nobody() -> None:
    room, in_use = Room(), list[Any]()
    first, second = Asking(room, in_use, [1]), Asking(room, in_use, [0])
    second.is_hopeless = True
    assert [go_on(first.steps), go_on(second.steps)] == [None, None]
    with pytest.raises(InsufficientMemoryError):
        next(second.steps)
    assert second.told == [True]


def test_two_that_find_too_little_do_not_wait_for_one_another() -> None:
    room, in_use = Room(), list[Any]()
    first, second = Asking(room, in_use, [1], times=2), Asking(room, in_use, [0])
    assert [go_on(first.steps), go_on(first.steps)] == [None, None]  # has found enough once
    assert go_on(second.steps) is None
    assert go_on(first.steps) is None  # asks for more
    assert waits(first.steps)
    assert in_use.count(first) == 1, "what it had found before is kept"
    assert go_on(second.steps) is None  # nobody but this one is at work any more: it tries again
    with pytest.raises(InsufficientMemoryError):
        next(second.steps)
    assert second.told == [True, False]
    assert go_on(first.steps) is None
    with pytest.raises(InsufficientMemoryError):
        next(first.steps)


def test_what_came_free_while_it_tried_is_not_waited_for_again() -> None:
    room, in_use, free = Room(), list[Any](), [0]
    first, second = Asking(room, in_use, [1]), Asking(room, in_use, free)
    assert [go_on(first.steps), go_on(first.steps)] == [None, None]
    assert go_on(second.steps) is None
    assert go_on(first.steps) == "enough"
    assert go_on(second.steps) is None  # it fails, and begins again at once
    free[0] = 1
    assert go_on(second.steps) is None
    assert go_on(second.steps) == "enough"
    assert second.told == [True, False]


def test_one_that_is_dropped_while_it_waits_leaves_nothing_behind() -> None:
    room, in_use = Room(), list[Any]()
    first, second = Asking(room, in_use, [1]), Asking(room, in_use, [0])
    assert [go_on(first.steps), go_on(first.steps)] == [None, None]
    assert go_on(second.steps) is None
    assert waits(second.steps)
    second.steps.close()
    assert go_on(first.steps) == "enough"
    third = Asking(room, in_use, [0])
    assert go_on(third.steps) is None
    with pytest.raises(InsufficientMemoryError):
        next(third.steps)
    assert third.told == [False]
