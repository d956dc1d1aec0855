"""Who is here, and who has been away for long enough."""

import threading
from collections.abc import Iterator
from queue import Empty, Queue

import pytest

from app.attendance import Attendance
from engine.errors import GearboxError

SOON_S = 5.0


@pytest.fixture
def forgotten() -> Queue[str]:
    return Queue()


@pytest.fixture
def at_once(forgotten: Queue[str]) -> Iterator[Attendance]:
    attendance = Attendance(forgotten.put, away_s=0.0)
    yield attendance
    attendance.close()


def test_somebody_who_leaves_is_forgotten_after_a_while(at_once: Attendance, forgotten: Queue[str]) -> None:
    at_once.arrive("a")()
    assert forgotten.get(timeout=SOON_S) == "a"
    at_once.arrive("a")()
    assert forgotten.get(timeout=SOON_S) == "a"


def test_whoever_has_another_page_open_stays(at_once: Attendance, forgotten: Queue[str]) -> None:
    first, second = at_once.arrive("a"), at_once.arrive("a")
    first()
    first()  # a page that closes twice is one page
    at_once.arrive("b")()
    assert forgotten.get(timeout=SOON_S) == "b"
    second()
    assert forgotten.get(timeout=SOON_S) == "a"


def test_a_reload_is_no_leaving(forgotten: Queue[str]) -> None:
    attendance = Attendance(forgotten.put, away_s=0.2)
    attendance.arrive("a")()
    stays = attendance.arrive("a")
    attendance.arrive("b")()
    assert forgotten.get(timeout=SOON_S) == "b"
    assert forgotten.empty()
    stays()
    assert forgotten.get(timeout=SOON_S) == "a"
    attendance.close()


def test_nobody_is_forgotten_once_it_is_closed(forgotten: Queue[str]) -> None:
    before = set(threading.enumerate())
    attendance = Attendance(forgotten.put, away_s=3600.0)
    leave = attendance.arrive("a")
    leave()
    attendance.close()
    assert set(threading.enumerate()) <= before
    with pytest.raises(Empty):
        forgotten.get_nowait()


def test_an_engine_that_cannot_forget_one_forgets_the_next() -> None:
    forgotten: Queue[str] = Queue()

    def forget(person: str) -> None:
        if person == "a":
            raise GearboxError("no engine")
        forgotten.put(person)

    attendance = Attendance(forget, away_s=0.0)
    attendance.arrive("a")()
    attendance.arrive("b")()
    assert forgotten.get(timeout=SOON_S) == "b"
    attendance.close()
