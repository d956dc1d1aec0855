"""The time left: never said too early, never far off, whatever the steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.background.pace import Pace


def walk(seconds: list[float], *, load_s: float = 0.0, tells: bool = True) -> list[tuple[float | None, float]]:
    """What is said to be left at the end of each step, and what is."""
    now, total, found = 50.0, len(seconds), []
    pace = Pace.begin(0.0, now, loading=tells and load_s > 0)
    now += load_s
    pace = pace.then(0.0, now)
    for done, step_s in enumerate(seconds, start=1):
        now += step_s
        pace = pace.then(done / total, now)
        found.append((pace.remaining_s(now), sum(seconds[done:])))
    return found


@given(seconds=st.lists(st.floats(1.0, 3.0), min_size=12, max_size=60), load_s=st.floats(0, 120), tells=st.booleans())
def test_what_is_said_is_within_a_factor_of_the_steps_spread_however_long_a_model_loads(
    seconds: list[float], load_s: float, tells: bool
) -> None:
    for place, (said, true) in enumerate(walk(seconds, load_s=load_s, tells=tells)):
        if place < 3:
            assert said is None
        elif said is not None and place < len(seconds) - 1:
            assert true / 3.01 <= said <= true * 3.01


def test_thirty_five_seconds_of_loading_never_make_four_minutes_of_seventy_seven_seconds() -> None:
    for tells in (True, False):
        said = [(left, true) for left, true in walk([2.0] * 21, load_s=35.0, tells=tells) if left is not None]
        assert len(said) >= 17
        assert all(left == pytest.approx(true, abs=0.01) for left, true in said)


def test_the_pace_is_of_the_latest_steps() -> None:
    assert walk([1.0] * 30 + [4.0] * 30)[49][0] == pytest.approx(4.0 * 10)


def test_inside_a_step_the_time_runs_down_but_not_below_the_steps_that_follow() -> None:
    pace, now = Pace.begin(0.0, 0.0), 0.0
    for done in range(1, 5):
        now += 10.0
        pace = pace.then(done / 8, now)
    assert [pace.remaining_s(now + passed) for passed in (0, 4, 10, 500)] == pytest.approx([40, 36, 30, 30])


def test_progress_told_many_times_a_second_is_averaged() -> None:
    pace, now = Pace.begin(0.0, 0.0), 0.0
    for told in range(1, 501):
        now += 0.005 if told % 2 else 0.035
        pace = pace.then(told / 1000, now)
    assert pace.remaining_s(now) == pytest.approx(10.0, rel=0.1)
