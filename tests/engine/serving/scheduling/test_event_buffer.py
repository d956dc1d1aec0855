"""Events handed over by the handful."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from engine.serving.scheduling.event_buffer import EventBuffer
from engine.types import Queued


def events(count: int, start: int = 0) -> list[Queued]:
    return [Queued(start + i) for i in range(count)]


@given(st.lists(st.integers(0, 5), max_size=12))
def test_what_goes_in_comes_out_once_and_in_order(sizes: list[int]) -> None:
    buffer, put = EventBuffer(1000), list[Queued]()
    for size in sizes:
        handful = events(size, len(put))
        buffer.put(handful)
        put += handful
    assert buffer.get(0) == put
    assert buffer.get(0) == []


def test_it_is_full_until_it_is_read_and_loses_nothing_meanwhile() -> None:
    buffer = EventBuffer(3)
    buffer.put(events(2))
    assert not buffer.is_full
    buffer.put(events(5, 2))
    assert buffer.is_full
    buffer.put(events(1, 7))
    assert buffer.get(0) == events(8)
    assert not buffer.is_full


def test_a_reader_waits_for_the_first() -> None:
    buffer, read = EventBuffer(1), list[object]()

    def reader() -> None:
        while len(read) < 4:
            read.extend(buffer.get(5))

    thread = threading.Thread(target=reader)
    thread.start()
    for i in range(4):
        buffer.put(events(1, i))
    thread.join(5)
    assert read == events(4)
