"""Limits and changes: chance does not move them, faults do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.alerts.change import has_changed, is_beyond, value_of
from app.store import Condition, Counted, Moments

LOOKS = 2_000


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    sums = (float(each.sum()) for each in (x, y, x * x, y * y, x * y))
    return Moments(len(x), *sums)


@pytest.mark.parametrize(("share", "recent", "before"), [(0.02, 40, 800), (0.3, 60, 60), (0.5, 30, 2_000)])
def test_a_share_that_only_chance_moves_raises_hardly_any_alarm(share: float, recent: int, before: int) -> None:
    chance = np.random.default_rng(0)
    now, then = chance.binomial(recent, share, LOOKS), chance.binomial(before, share, LOOKS)
    alarms = sum(
        bool(has_changed(Counted(int(a), recent), Counted(int(b), before), Condition.DRIFTS, 0.1, least=30))
        for a, b in zip(now, then, strict=True)
    )
    assert alarms <= LOOKS * 0.01


def test_a_ratio_of_unequal_runs_that_only_chance_moves_raises_hardly_any_alarm() -> None:
    chance, alarms = np.random.default_rng(1), 0
    for _ in range(LOOKS):
        parts = []
        for runs in (40, 300):
            prompt = chance.integers(20, 2_000, runs).astype(float)
            parts.append(moments(prompt * chance.beta(2, 2, runs), prompt))
        alarms += bool(has_changed(*parts, Condition.FALLS, 0.0, least=30))
    assert alarms <= LOOKS * 0.01


@pytest.mark.parametrize(
    ("recent", "before", "condition", "limit", "says"),
    [
        (Counted(30, 40), Counted(100, 400), Condition.RISES, 0.5, True),
        (Counted(30, 40), Counted(100, 400), Condition.FALLS, 0.5, False),
        (Counted(30, 40), Counted(100, 400), Condition.DRIFTS, 0.5, True),
        (Counted(30, 40), Counted(100, 400), Condition.RISES, 3.0, False),
        (Counted(2, 40), Counted(200, 400), Condition.FALLS, 0.5, True),
        (Counted(8, 40), Counted(0, 400), Condition.RISES, 0.5, True),
        (Counted(3, 3), Counted(0, 400), Condition.RISES, 0.5, None),
        (Counted(30, 40), Counted(0, 3), Condition.RISES, 0.5, None),
        (Counted(0, 0), Counted(0, 0), Condition.RISES, 0.5, None),
        (Moments(), Moments(), Condition.FALLS, 0.1, None),
    ],
)
def test_a_change_must_be_large_and_not_by_chance(
    recent: Counted | Moments, before: Counted | Moments, condition: Condition, limit: float, says: bool | None
) -> None:
    assert has_changed(recent, before, condition, limit, least=30) is says


def test_a_share_must_be_beyond_its_limit_and_not_by_chance() -> None:
    assert is_beyond(Counted(1, 10), Condition.ABOVE, 0.05, least=10) is False
    assert is_beyond(Counted(5, 10), Condition.ABOVE, 0.05, least=10) is True
    assert is_beyond(Counted(3, 3), Condition.ABOVE, 0.05, least=10) is None
    assert is_beyond(Counted(0, 100), Condition.BELOW, 0.5, least=10) is True


@given(st.integers(0, 50), st.integers(0, 50))
def test_a_share_lies_between_its_bounds(bad: int, good: int) -> None:
    found = value_of(Counted(bad, bad + good))
    if bad + good == 0:
        assert found is None
    else:
        assert found is not None
        assert 0 <= found.low <= found.value + 1e-12
        assert found.value - 1e-12 <= found.high <= 1
