"""Events handed over by the handful."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from engine.serving.event_buffer import EventBuffer
from engine.types import Queued


def events(count: int, start: int = 0) -> list[Queued]:
    return [Queued(start + i) for i in range(count)]


@given(st.lists(st.integers(0, 5), max_size=12))
def test_what_goes_in_comes_out_once_and_in_order(sizes: list[int]) -> None:
    buffer, put = EventBuffer(1000), list[Queued]()
    for size in sizes:
        handful = events(size, len(put))
        assert buffer.put(handful)
        put += handful
    assert buffer.get(0) == put
    assert buffer.get(0) == []


def test_a_full_buffer_takes_nothing_until_it_is_read() -> None:
    buffer = EventBuffer(3)
    assert buffer.put(events(2))
    assert buffer.put(events(5)), "there was some room"
    assert not buffer.put(events(1), 0.01)
    assert len(buffer.get(0)) == 7
    assert buffer.put(events(1))


def test_room_is_made_from_the_oldest() -> None:
    buffer = EventBuffer(3)
    buffer.put(events(3))
    buffer.drop_oldest(2)
    assert buffer.put(events(1, 9))
    assert buffer.get(0) == [Queued(2), Queued(9)]


def test_a_reader_waits_for_the_first_and_a_writer_for_room() -> None:
    buffer, read = EventBuffer(1), list[object]()

    def reader() -> None:
        while len(read) < 4:
            read.extend(buffer.get(5))

    thread = threading.Thread(target=reader)
    thread.start()
    assert all(buffer.put(events(1, i), 5) for i in range(4))
    thread.join(5)
    assert read == events(4)
