"""Token buckets and counted tries, with a clock of the tests' own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.doors import buckets
from app.doors.buckets import TokenBucket, Tries, whole_seconds
from tests.support.clock import Clock


def test_a_bucket_gives_what_it_holds_and_then_what_it_fills_up_by() -> None:
    clock = Clock()
    bucket = TokenBucket(3, 0.5, clock)
    assert [bucket.take() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take() == pytest.approx(2.0)
    clock.now += 1.0
    assert bucket.take() == pytest.approx(1.0)
    clock.now += 1.0
    assert bucket.take() == 0.0


def test_what_was_used_beyond_is_waited_for() -> None:
    clock = Clock()
    bucket = TokenBucket(100, 10, clock)
    assert bucket.wait_s() == 0.0
    bucket.spend(150)
    assert bucket.wait_s() == pytest.approx(5.0)
    clock.now += 4.9
    assert bucket.wait_s() > 0
    clock.now += 0.2
    assert bucket.wait_s() == 0.0


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=60))
def test_never_more_than_a_full_bucket_and_what_filled_up(steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    bucket, taken, began = TokenBucket(5, 0.5, clock), 0, clock.now
    for wait, tries in steps:
        clock.now += wait
        for _ in range(tries):
            wait_s = bucket.take()
            taken += wait_s == 0.0
            assert 0 <= wait_s <= 2.0 + 1e-9
    assert taken <= 5 + (clock.now - began) * 0.5 + 1e-6


def test_who_was_wrong_waits_and_who_was_right_does_not() -> None:
    clock = Clock()
    tries = Tries(2, 0.1, clock)
    for _ in range(50):
        assert tries.take("right") == 0.0
        tries.was_right("right")
    assert [tries.take("wrong"), tries.take("wrong")] == [0.0, 0.0]
    assert tries.take("wrong") == pytest.approx(10.0)
    assert tries.take("another") == 0.0
    tries.was_right("never seen")


def test_networks_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "MOST_NETWORKS", 3)
    tries = Tries(1, 0.1, Clock())
    for network in "abcd":
        assert tries.take(network) == 0.0
    assert len(tries._buckets) == 3
    assert tries.take("d") > 0


def test_retry_after_is_whole_and_never_zero() -> None:
    assert [whole_seconds(wait) for wait in (0.0, 0.2, 1.0, 1.1, 59.9)] == [1, 1, 1, 2, 60]
