"""Where one's own machines are cheaper than an API."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.costs.errors import CostsError
from app.costs.self_hosting import DAYS_A_MONTH, OwnMachines, api_monthly, break_even

OWN = OwnMachines(requests_per_day=10_000, machine_s=1.0, per_hour=0.10)

amounts = st.floats(0, 1e4)
machines = st.builds(
    OwnMachines,
    requests_per_day=st.floats(10, 1e6),
    machine_s=st.floats(0.01, 100),
    per_hour=st.floats(0, 10),
    hours_a_day=st.floats(0, 24),
    idle_watts=st.floats(0, 100),
    busy_watts=st.floats(100, 1_000),
    per_kwh=st.floats(0, 1),
    upkeep_hours=st.floats(0, 100),
    wage=st.floats(0, 200),
    upgrades=amounts,
)


def difference(own: OwnMachines, each: float, traffic: float) -> float:
    """Own machines' cost of a month beyond the API's."""
    return own.monthly(traffic) - api_monthly(each, traffic)


def test_a_months_cost_adds_up() -> None:
    own = replace(OWN, idle_watts=50, busy_watts=150, per_kwh=0.4, upkeep_hours=3, wage=60, upgrades=20, hours_a_day=12)
    assert own.fixed == 200
    assert own.each_machine == pytest.approx(12 * DAYS_A_MONTH * (0.10 + 0.02))
    assert own.each_request == pytest.approx(0.1 * 0.4 / 3600)
    assert own.machines(0) == own.machines(10_000) == 1
    assert own.machines(10_001) == 2
    third = replace(own, requests_per_day=3_086.1)
    assert [third.machines(third.requests_per_day * count) for count in range(1, 100)] == list(range(1, 100))
    expected = own.fixed + 2 * own.each_machine + 15_000 * DAYS_A_MONTH * own.each_request
    assert own.monthly(15_000) == pytest.approx(expected)


def test_energy_is_estimated_from_the_stated_powers() -> None:
    own = replace(OWN, idle_watts=50, busy_watts=150, hours_a_day=12)
    found = own.energy_a_day(15_000)
    assert found.joules == pytest.approx(2 * 50 * 12 * 3600 + 100 * 15_000)
    assert found.provenance == "estimated from 50 W idle, 150 W busy"


def test_one_crossing_where_the_first_machine_pays_and_each_more_does() -> None:
    # a machine costs 2.40 a day: 4,000 requests at 0.0006
    found = break_even(OWN, 0.0006)
    assert found.first is not None
    assert found.first.requests_per_day == pytest.approx(4_000)
    assert found.first.own_is_cheaper
    assert found.for_good == pytest.approx(4_000)


def test_each_machine_more_may_have_to_be_filled_again() -> None:
    # a machine costs 2.40 a day and takes requests worth 3.00: it pays from 8,000, two from 16,000, … until 40,000
    found = break_even(OWN, 0.0003)
    assert [round(crossing.requests_per_day) for crossing in found.crossings] == [
        8_000, 10_000, 16_000, 20_000, 24_000, 30_000, 32_000, 40_000, 40_000,
    ]  # fmt: skip
    assert [crossing.own_is_cheaper for crossing in found.crossings] == [True, False] * 4 + [True]
    assert [crossing.machines for crossing in found.crossings] == [1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert found.for_good == pytest.approx(40_000)


@pytest.mark.parametrize("each", [0.0, 0.0001, 0.00024])
def test_a_machine_that_full_does_not_pay_never_does(each: float) -> None:
    found = break_even(OWN, each)
    assert (found.crossings, found.first, found.for_good) == ((), None, None)


def test_machines_that_cost_nothing_pay_from_the_first_request() -> None:
    found = break_even(replace(OWN, per_hour=0.0), 0.001)
    assert [crossing.requests_per_day for crossing in found.crossings] == [0.0]
    assert found.for_good == 0


def test_of_very_many_crossings_the_first_are_told_and_the_last() -> None:
    found = break_even(OWN, 0.000240001)
    assert 500 < len(found.crossings) < 1_100
    assert found.for_good is not None
    assert found.for_good > 1e8
    assert difference(OWN, 0.000240001, found.for_good * 1.001) < 0


@given(machines, st.floats(0, 1), st.floats(0, 1e7), st.floats(0, 1e7))
def test_more_traffic_never_costs_less(own: OwnMachines, each: float, traffic: float, more: float) -> None:
    assert own.monthly(traffic) <= own.monthly(traffic + more)
    assert api_monthly(each, traffic) <= api_monthly(each, traffic + more)


@given(machines, st.floats(1e-6, 1))
def test_at_every_crossing_the_cheaper_one_changes(own: OwnMachines, each: float) -> None:
    found = break_even(own, each)
    assume(found.crossings)
    signs = [crossing.own_is_cheaper for crossing in found.crossings]
    assert signs == [place % 2 == 0 for place in range(len(signs))]
    places = [0.0, *(crossing.requests_per_day for crossing in found.crossings)]
    for crossing, before in zip(found.crossings, places, strict=False):
        at = crossing.requests_per_day
        assert at >= before
        gap = max(1e-9 * at, 1e-9)
        noise = 1e-7 * (own.monthly(at + gap) + 1e-9)
        above, below = difference(own, each, at + gap), difference(own, each, max(0.0, at - gap))
        if crossing.own_is_cheaper:
            assert above < noise
            assert below > -noise
        else:
            assert above > -noise
            assert below < noise


@given(machines, st.floats(1e-6, 1), st.floats(0, 1), st.floats(0.001, 3))
def test_between_crossings_the_cheaper_one_stays(own: OwnMachines, each: float, where: float, far: float) -> None:
    found = break_even(own, each)
    edges = [0.0, *(crossing.requests_per_day for crossing in found.crossings)]
    states = [False, *(crossing.own_is_cheaper for crossing in found.crossings)]
    for place, (begin, state) in enumerate(zip(edges, states, strict=True)):
        last = place == len(edges) - 1
        if last and found.for_good is not None and found.for_good > begin:
            break  # of very many crossings not all are told
        end = begin + far * own.requests_per_day if last else edges[place + 1]
        traffic = begin + where * (end - begin)
        assume(begin < traffic < end)
        noise = 1e-9 * own.monthly(traffic)
        assert (difference(own, each, traffic) < noise) if state else (difference(own, each, traffic) > -noise)


@given(machines, st.floats(1e-6, 1), st.floats(1, 100))
def test_a_dearer_api_is_left_no_later(own: OwnMachines, each: float, dearer: float) -> None:
    near, far = break_even(own, each * dearer).for_good, break_even(own, each).for_good
    assert far is None or (near is not None and near <= far * (1 + 1e-9))


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize(
    "field",
    ["requests_per_day", "machine_s", "per_hour", "hours_a_day", "idle_watts", "per_kwh", "upkeep_hours", "wage"],
)
def test_figures_that_cannot_be_are_refused(field: str, wrong: float) -> None:
    with pytest.raises(CostsError, match="must be a number"):
        replace(OWN, **{field: wrong})


def test_limits_are_named_in_the_users_words() -> None:
    with pytest.raises(CostsError, match="hours a day that a machine is paid for must be a number from 0 to 24"):
        replace(OWN, hours_a_day=25.0)
    with pytest.raises(CostsError, match="while busy, in watts, must be a number of 50 or more, not 40"):
        replace(OWN, idle_watts=50.0, busy_watts=40.0)
    with pytest.raises(CostsError, match="API's price for a request"):
        break_even(OWN, -0.1)
    with pytest.raises(CostsError, match="Requests a day"):
        OWN.monthly(-1)
