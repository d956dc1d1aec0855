"""Work beside the engine's thread: done once for all who want it, told of as it goes, ended when nobody does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from engine.models.sources.progress import silent
from engine.passes import Steps, Wait, perform_alone
from engine.serving.memory.loading import Errand, Errands, NobodyWaitsError

LIMIT_S = 60
"""A guard against hanging, far above what anything here takes."""


class Work:
    """An errand's, that goes on when it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Semaphore(0)
        self.begun = 0
        self.ended: BaseException | None = None

    def __call__(self, progress: Callable[[str, float], None]) -> str:
        self.begun += 1
        try:
            for part in range(4):
                assert self.go_on.acquire(timeout=LIMIT_S)
                progress("working", part / 4)
        except NobodyWaitsError as error:
            self.ended = error
            raise
        return "done"


def resumed(steps: Steps[str]) -> str | None:
    """What a sequence returns when it goes on; ``None`` while it waits."""
    try:
        assert isinstance(next(steps), Wait)
    except StopIteration as end:
        return str(end.value)
    return None


def test_an_errand_is_told_of_as_it_goes_and_promises_less_and_less() -> None:
    work, told = Work(), list[tuple[str, float]]()
    errand = Errand("key", "beginning", work, needed_bytes=1000)
    steps = errand.follow(lambda *news: told.append(news))
    assert resumed(steps) is None
    assert told == [("beginning", 0.0)]
    assert errand.promised_bytes == 1000
    for part in range(4):
        before = errand.told
        work.go_on.release()
        while errand.outcome is None and errand.told == before:
            pass
        assert resumed(steps) == (None if errand.outcome is None else "done") or part == 3
        assert errand.promised_bytes <= 1000 - 250 * part
    assert told[1] == ("working", 0.0)


def test_an_errand_that_nobody_wants_ends_inside() -> None:
    errands, work = Errands(), Work()
    steps = errands.run("key", lambda: Errand("key", "beginning", work, 1000), silent)
    assert resumed(steps) is None
    assert errands.promised_bytes == 1000
    steps.close()
    assert not errands.is_idle
    assert errands.promised_bytes == 0, "it takes no more"
    again = errands.turn("key", silent)
    assert isinstance(next(again), Wait)
    work.go_on.release(4)
    errands.close(LIMIT_S)
    assert errands.is_idle
    with suppress(StopIteration):
        next(again)
    assert isinstance(work.ended, NobodyWaitsError)


def test_what_two_want_is_done_once_and_waited_for_by_others() -> None:
    errands, work = Errands(), Work()
    both = [errands.run("key", lambda: Errand("key", "beginning", work), silent) for _ in range(2)]
    assert [resumed(steps) for steps in both] == [None, None]
    other = errands.turn("other", silent)
    assert isinstance(next(other), Wait)
    work.go_on.release(4)
    errands.close(LIMIT_S)
    assert not errands.is_idle, "nobody has taken what came of it"
    assert [resumed(steps) for steps in both] == ["done", "done"]
    assert errands.is_idle
    assert work.begun == 1


def test_a_system_that_gives_no_more_threads_is_told_of_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    errands = Errands()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            perform_alone(errands.run("key", lambda: Errand("key", "beginning", lambda _: "done"), silent))
    assert perform_alone(errands.run("key", lambda: Errand("key", "beginning", lambda _: "done"), silent)) == "done"
