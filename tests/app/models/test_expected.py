"""What a model would take here: by what was measured of one of like size, else by what memory gives at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.expected import Machine, MeasuredPace, expected
from engine import WeightsEstimate
from engine.machine import bandwidth

GIB = 2**30


def test_memory_s_bandwidth_is_the_limit_where_nothing_alike_ran() -> None:
    weights = {"bf16": WeightsEstimate(4 * GIB, 3 * GIB), "int4": WeightsEstimate(2 * GIB, GIB)}
    sixteen, four = expected(weights, Machine(room_bytes=3 * GIB, bandwidth=30 * GIB))
    assert (sixteen.precision, sixteen.fits, sixteen.tokens_per_second, sixteen.like) == ("bf16", False, 10.0, None)
    assert (four.precision, four.fits, four.tokens_per_second) == ("int4", True, 30.0)


def test_nothing_is_said_of_what_nobody_knows() -> None:
    (only,) = expected({"int4": WeightsEstimate(GIB, GIB)}, Machine())
    assert (only.fits, only.tokens_per_second) == (None, None)


def test_the_nearest_of_like_size_at_the_same_precision_speaks_for_it() -> None:
    paces = [
        MeasuredPace("small", "int4", 0.010, GIB // 8),
        MeasuredPace("near", "int4", 0.050, GIB),
        MeasuredPace("other", "bf16", 0.001, 2 * GIB),
    ]
    (found,) = expected({"int4": WeightsEstimate(2 * GIB, 2 * GIB)}, Machine(bandwidth=100.0 * GIB, paces=paces))
    assert found.like == "near"
    assert found.tokens_per_second == pytest.approx(10.0), "twice the bytes, twice the time"
    (far,) = expected({"int4": WeightsEstimate(50 * GIB, 50 * GIB)}, Machine(bandwidth=100.0 * GIB, paces=paces))
    assert (far.like, far.tokens_per_second) == (None, 2.0)


@given(
    st.integers(1, 2**40),
    st.lists(st.tuples(st.integers(1, 2**40), st.floats(1e-4, 10)), max_size=5),
    st.floats(1e6, 1e12),
)
def test_more_bytes_are_never_quicker(size: int, measured: list[tuple[int, float]], speed: float) -> None:
    paces = [MeasuredPace(f"m{i}", "int4", step_s, read) for i, (read, step_s) in enumerate(measured)]
    (one,) = expected({"int4": WeightsEstimate(size, size)}, Machine(bandwidth=speed, paces=paces))
    assert one.tokens_per_second is not None
    assert one.tokens_per_second > 0
    if one.like is None:
        assert one.tokens_per_second == pytest.approx(speed / size)
    (same,) = expected({"int4": WeightsEstimate(size, size)}, Machine(bandwidth=speed, paces=list(reversed(paces))))
    assert same.tokens_per_second == one.tokens_per_second or same.like != one.like


def test_bandwidth_is_measured_only_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "BUFFER_BYTES", 1 << 20)
    assert (bandwidth.measure_bandwidth(2) or 0) > 1e6
    monkeypatch.setattr(bandwidth, "available_bytes", lambda: 1 << 20)
    assert bandwidth.measure_bandwidth(2) is None
