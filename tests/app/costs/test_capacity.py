"""How many requests a machine takes within a latency target."""

from __future__ import annotations

import math
import random
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.costs.capacity import EVEN, machines_needed, requests_per_day, requests_per_s, waiting_s
from app.costs.errors import CostsError
from app.costs.running import Served

ALONE = Served(prompt_tokens=100, completion_tokens=50, e2e_s=2.0)
TOGETHER = Served(prompt_tokens=100, completion_tokens=50, e2e_s=4.0, at_once=8.0)

services = st.builds(
    Served,
    prompt_tokens=st.just(10.0),
    completion_tokens=st.just(10.0),
    e2e_s=st.floats(0.05, 60),
    at_once=st.floats(1, 32),
)


def test_waiting_is_erlangs() -> None:
    # one place: P(wait > t) = ρ·exp(−(μ − λ)·t); Kleinrock 1975, 5.118 for M/M/1
    assert waiting_s(0.4, 2.0, 1) == pytest.approx(math.log(0.8 / 0.05) / 0.1)
    # two places at 75 %: P(wait) = 9/14
    assert waiting_s(1.5, 1.0, 2) == pytest.approx(math.log(9 / 14 / 0.05) / 0.5)
    assert waiting_s(0.0, 2.0, 1) == 0
    assert waiting_s(0.5, 2.0, 1) == math.inf


def test_waiting_is_as_in_a_simulated_line() -> None:
    chance = random.Random(18)
    free, now, waits = [0.0] * 4, 0.0, []
    for _ in range(200_000):
        now += chance.expovariate(3.4)
        start = max(now, heappop(free))
        heappush(free, start + chance.expovariate(1.0))
        waits.append(start - now)
    waits.sort()
    assert waiting_s(3.4, 1.0, 4) == pytest.approx(waits[int(0.95 * len(waits))], rel=0.1)


def test_an_answer_that_takes_longer_than_the_target_meets_it_on_no_machine() -> None:
    assert requests_per_s(ALONE, 1.9) == 0
    assert machines_needed(1_000, EVEN, 1.9, ALONE) is None


def test_machines_are_for_the_busiest_hour() -> None:
    each = requests_per_day(TOGETHER, 8.0, EVEN)
    assert machines_needed(each * 2.5, EVEN, 8.0, TOGETHER) == 3
    assert requests_per_day(TOGETHER, 8.0, 0.25) == pytest.approx(each / 6)
    assert machines_needed(0, EVEN, 8.0, TOGETHER) == 1


@given(services, st.floats(1.0, 20))
def test_at_capacity_the_target_is_just_met(served: Served, patience: float) -> None:
    target_s = patience * served.e2e_s
    rate, places = requests_per_s(served, target_s), int(served.at_once)
    assert served.e2e_s + waiting_s(rate, served.e2e_s, places) <= target_s * (1 + 1e-9)
    assert 0 < rate < places / served.e2e_s * (1 + 1e-9)
    assert served.e2e_s + waiting_s(rate * 1.001, served.e2e_s, places) > target_s * (1 - 1e-9)


@given(services, st.floats(1.0, 10), st.floats(1.0, 10), st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_traffic_takes_no_fewer_machines_and_more_patience_no_more(
    served: Served, patience: float, other: float, traffic: float, more: float
) -> None:
    strict, lax = sorted((patience * served.e2e_s, other * served.e2e_s))
    few = machines_needed(traffic, 0.1, strict, served)
    many = machines_needed(traffic + more, 0.1, strict, served)
    patient = machines_needed(traffic, 0.1, lax, served)
    assert few is not None
    assert many is not None
    assert patient is not None
    assert patient <= few <= many


@pytest.mark.parametrize("share", [0.0, 0.04, 1.01, math.nan])
def test_a_share_that_no_hour_can_have_is_refused(share: float) -> None:
    with pytest.raises(CostsError, match="busiest hour"):
        machines_needed(1_000, share, 5.0, ALONE)


@pytest.mark.parametrize("target_s", [0.0, -1.0, math.nan, math.inf])
def test_a_target_that_is_no_time_is_refused(target_s: float) -> None:
    with pytest.raises(CostsError, match="latency target"):
        requests_per_s(ALONE, target_s)
