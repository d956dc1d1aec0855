"""When a speed has drifted: only where the times say so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.sentinel.comparing import Drift, deviations, drifts, filed_as, same_tokens
from app.operations.sentinel.fingerprint import changes, of_record
from app.operations.sentinel.options import SentinelOptions
from app.store import Deviation, GoldenAnswer
from engine.errors import InvalidRequestError
from tests.support.fakes import make_request

TIMES = st.lists(st.floats(0.001, 10), min_size=3, max_size=8)
HERE = {"device": "cpu", "cpu": "A", "threads": 2}


def answer(*tpot_s: float, **given: object) -> GoldenAnswer:
    values = {"id": "a", "golden_id": "g", "round_id": None, "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
    return GoldenAnswer(**{**values, "run_id": None, "fingerprint": HERE, "tpot_s": tpot_s, **given})  # type: ignore[arg-type]


@given(TIMES, TIMES)
def test_the_interval_holds_the_ratio_of_medians_and_turns_over_with_the_series(
    before: list[float], now: list[float]
) -> None:
    drift, back = Drift.of(before, now), Drift.of(now, before)
    assert drift is not None
    assert back is not None
    assert drift.low <= drift.ratio <= drift.high
    assert drift.low == pytest.approx(1 / back.high)
    assert drift.level >= 0.9


@given(TIMES)
def test_times_of_one_series_are_no_drift_from_each_other(times: list[float]) -> None:
    drift = Drift.of(times, times)
    assert drift is not None
    assert drift.beyond(0.01) is None


def test_three_and_three_that_do_not_overlap_are_one_and_noise_is_none() -> None:
    assert Drift.of((1.0, 1.1, 1.05), (1.5, 1.6, 1.55)).beyond(0.1) is Deviation.SLOWER  # type: ignore[union-attr]
    assert Drift.of((1.5, 1.6, 1.55), (1.0, 1.1, 1.05)).beyond(0.1) is Deviation.FASTER  # type: ignore[union-attr]
    assert Drift.of((1.0, 1.1, 2.0), (1.5, 1.6, 1.9)).beyond(0.1) is None  # type: ignore[union-attr]
    assert Drift.of((1.0, 1.1), (9.0, 9.1, 9.2)) is None, "two show nothing"


def test_times_of_two_machines_are_not_compared() -> None:
    slow = answer(9.0, 9.0, 9.0, fingerprint={**HERE, "cpu": "B"})
    assert not drifts(answer(1.0, 1.0, 1.0), slow)
    assert not deviations(answer(1.0, 1.0, 1.0), slow, SentinelOptions())


def test_known_is_only_what_was_filed_of_the_same_tokens_and_no_more() -> None:
    filed = answer(token_ids=(1, 2), against_id="b", deviations=(Deviation.TOKENS,))
    same = answer(token_ids=(1, 2), against_id="b", deviations=(Deviation.TOKENS,))
    assert filed_as(same, [filed], SentinelOptions()) is filed
    assert (
        filed_as(answer(token_ids=(1, 3), against_id="b", deviations=(Deviation.TOKENS,)), [filed], SentinelOptions())
        is None
    )
    slower = answer(token_ids=(1, 2), against_id="b", deviations=(Deviation.TOKENS, Deviation.SLOWER))
    assert filed_as(slower, [filed], SentinelOptions()) is None
    assert (
        filed_as(answer(token_ids=(1, 2), against_id="c", deviations=(Deviation.TOKENS,)), [filed], SentinelOptions())
        is None
    )


def test_what_has_drifted_further_than_what_a_person_filed_is_not_known() -> None:
    def slow(at: float, **given: object) -> GoldenAnswer:
        times = (at, 1.01 * at, 1.02 * at)
        return answer(*times, against_id="b", deviations=(Deviation.SLOWER,), **given)

    filed = slow(1.2, known_at=datetime(2026, 1, 2, tzinfo=UTC))
    for at, is_known in ((1.2, True), (1.12, True), (0.8, True), (1.5, False), (9.0, False)):
        assert (filed_as(slow(at), [filed], SentinelOptions()) is filed) is is_known, at
    alike = slow(1.4, known_at=filed.known_at)  # filed because it was like the one before
    assert filed_as(slow(1.5), [filed, alike], SentinelOptions()) is None
    further = slow(1.4, known_at=datetime(2026, 1, 3, tzinfo=UTC))  # filed by somebody who saw it
    assert filed_as(slow(1.5), [filed, further], SentinelOptions()) is further


def test_a_kld_that_has_grown_further_is_not_known() -> None:
    def far(kld: float) -> GoldenAnswer:
        return answer(against_id="b", kld=kld, deviations=(Deviation.KLD,))

    assert filed_as(far(0.055), [far(0.05)], SentinelOptions()) is not None
    assert filed_as(far(0.07), [far(0.05)], SentinelOptions()) is None


def test_with_how_many_tokens_two_begin_alike() -> None:
    assert [same_tokens((1, 2, 3), other) for other in ((), (1, 2), (1, 9, 3), (1, 2, 3, 4))] == [0, 2, 1, 3]


def test_what_has_changed_is_said_of_what_both_know() -> None:
    config = make_request().config
    before = of_record({"weights_sha256": "a" * 64, "torch": "2.1", "kernel": "gearbox", "cpu": "A"}, config)
    now = of_record({"weights_sha256": "b" * 64, "torch": "2.2", "cpu": "A"}, config)
    weights, torch = changes(before, now)
    assert weights == f"Weights of smollm2-135m: {'a' * 12} → {'b' * 12}"
    assert torch == "PyTorch: 2.1 → 2.2"


@pytest.mark.parametrize("wrong", [{"every_hours": 0.0}, {"speed_limit": 0.0}, {"kld_limit": -1.0}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidRequestError):
        SentinelOptions(**wrong)  # type: ignore[arg-type]
