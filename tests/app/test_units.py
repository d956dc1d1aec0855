from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app import units


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.000412, "412 µs"),
        (0.0412, "41.2 ms"),
        (0.412, "412 ms"),
        (0.9996, "1.00 s"),
        (3.416, "3.42 s"),
        (59.4, "59.4 s"),
        (125.2, "2 min 05 s"),
    ],
)
def test_a_duration_is_written_in_the_unit_that_suits_it(value: float | None, written: str) -> None:
    assert units.seconds(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.50 KiB"), (269_000_000, "257 MiB"), (3 * 2**30, "3.00 GiB")],
)
def test_a_size_is_written_in_binary_units(value: int | None, written: str) -> None:
    assert units.memory(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "–"), (0, "0.00 J"), (12.34, "12.3 J"), (4_560, "4.56 kJ"), (360_000, "0.10 kWh"), (4.32e6, "1.20 kWh")],
)
def test_an_energy_is_written_in_the_unit_that_suits_it(value: float | None, written: str) -> None:
    assert units.energy(value) == written


@pytest.mark.parametrize(
    ("value", "written"), [(None, "–"), (0, "$0.00"), (1.2, "$1.20"), (0.000034, "$0.000034"), (0.051, "$0.051")]
)
def test_an_amount_of_money_keeps_two_significant_digits(value: float | None, written: str) -> None:
    assert units.money(value) == written


def test_a_probability_is_the_exponential_of_the_log_probability() -> None:
    assert units.probability(0.0) == "100.0 %"
    assert units.probability(-0.6931472) == "50.0 %"
    assert units.probability(float("nan")) == units.MISSING


def test_one_thing_takes_no_plural() -> None:
    assert units.counted(1, "run") == "1 run"
    assert units.counted(2000, "run") == "2,000 runs"


def test_a_moment_is_written_on_the_readers_clock() -> None:
    moment = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    assert units.moment(moment, ZoneInfo("Asia/Tokyo")) == "2026-02-01 08:30:00"


def test_ratios_and_rates_carry_their_unit() -> None:
    assert units.ratio(2.914) == "2.9×"
    assert units.ratio(1.043) == "1.04×"
    assert units.ratio(14.26) == "14.3×"
    assert units.rate(58.31) == "58.3 tok/s"
    assert units.percent(0.7129) == "71 %"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "∞ nats"),
        (0.0, "0 nats"),
        (4e-7, "0 nats"),
        (0.003117, "0.00312 nats"),
        (0.25, "0.250 nats"),
        (12.345, "12.35 nats"),
    ],
)
def test_a_divergence_keeps_its_figures_however_small(value: float | None, written: str) -> None:
    assert units.divergence(value) == written


@pytest.mark.parametrize(
    ("difference", "written"), [(-0.0321, "−3.2 points"), (0.004, "+0.4 points"), (-0.0001, "±0.0 points")]
)
def test_a_difference_of_probabilities_has_its_sign(difference: float, written: str) -> None:
    assert units.points(difference) == written


@pytest.mark.parametrize(
    ("value", "spread", "written"),
    [
        (9.34, 0.12, "9×"),
        (9.34, 0.02, "9.3×"),
        (1.234, 0.15, "1.2×"),
        (146.3, 0.12, "150×"),
        (58.31, 0.0001, "58.3×"),  # never more than three digits
        (20.0, 10.0, "20×"),  # and never none
    ],
)
def test_a_ratio_ends_where_its_spread_begins(value: float, spread: float, written: str) -> None:
    assert units.ratio(value, spread) == written


def test_durations_and_rates_end_where_their_spread_begins() -> None:
    assert units.seconds(0.412, 0.1) == "410 ms"
    assert units.seconds(0.97, 0.15) == "1.0 s"
    assert units.seconds(0.000412, 0.1) == "410 µs"
    assert units.seconds(125.2, 0.01) == "2 min 05 s"
    assert units.rate(146.3, 0.12) == "150 tok/s"
    assert units.rate(None, 0.1) == units.seconds(None, 0.1) == units.ratio(None, 0.1) == units.MISSING
    assert units.rounded(146.3, 0.12) == 150


@pytest.mark.parametrize(
    ("duration_s", "words"),
    [
        (0.0, "a few seconds"),
        (7.4, "a few seconds"),
        (8.0, "about 10 s"),
        (41.0, "about 40 s"),
        (58.0, "about 1 min"),
        (77.0, "about 1 min 20 s"),
        (594.0, "about 9 min 50 s"),
        (596.0, "about 10 min"),
        (1_740.0, "about 29 min"),
        (3_580.0, "about 1 h"),
        (7_800.0, "about 2 h 10 min"),
    ],
)
def test_a_time_that_is_reckoned_has_few_digits(duration_s: float, words: str) -> None:
    assert units.about(duration_s) == words
