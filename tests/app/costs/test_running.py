"""What an answer costs, alone, in company, and at somebody else's price."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.costs.errors import CostsError
from app.costs.running import RunCost, Served, listed_cost, own_cost, savings_a_day
from app.remote.prices import ListPrice
from engine.errors import InvalidRequestError

ALONE = Served(prompt_tokens=100, completion_tokens=50, e2e_s=2.0)


def test_alone_a_request_costs_the_machines_time() -> None:
    assert ALONE.tokens_per_s == 25
    found = own_cost(0.36, ALONE)
    assert found.request == pytest.approx(0.0002)
    assert found.million_tokens == pytest.approx(4.0)


def test_in_company_the_time_is_shared() -> None:
    together = replace(ALONE, e2e_s=4.0, at_once=8)
    assert together.tokens_per_s == 100
    assert own_cost(0.36, together).request == pytest.approx(own_cost(0.36, ALONE).request / 4)


def test_a_list_price_counts_both_ways() -> None:
    found = listed_cost(ListPrice(0.5, 2.0), 100, 50)
    assert found.request == pytest.approx(0.00015)
    assert found.million_tokens == pytest.approx(3.0)


def test_kept_tokens_have_a_price_of_their_own_and_are_no_more_than_the_prompts() -> None:
    price = ListPrice(1.0, 2.0, cached_per_million=0.25)
    assert listed_cost(price, 100, 50, 60).request == pytest.approx((40 + 15 + 100) / 1e6)
    assert price.of(100, 50, 1_000) == price.of(100, 50, 100) == pytest.approx(125 / 1e6)


def test_savings_are_of_all_requests_and_may_be_losses() -> None:
    cheap, dear = RunCost(0.001, 1.0), RunCost(0.003, 3.0)
    assert savings_a_day(dear, cheap, 1_000) == pytest.approx(2.0)
    assert savings_a_day(cheap, dear, 1_000) == pytest.approx(-2.0)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_figures_that_cannot_be_are_refused_by_name(wrong: float) -> None:
    with pytest.raises(CostsError, match="machine's price per hour must be a number of 0 or more"):
        own_cost(wrong, ALONE)
    with pytest.raises(InvalidRequestError, match="output tokens"):
        ListPrice(1.0, wrong)
    with pytest.raises(InvalidRequestError, match="input tokens"):
        ListPrice(wrong, 1.0)
    with pytest.raises(CostsError, match="Requests a day"):
        savings_a_day(RunCost(1, 1), RunCost(1, 1), wrong)
    for field in ("prompt_tokens", "completion_tokens", "e2e_s", "at_once"):
        with pytest.raises(CostsError):
            replace(ALONE, **{field: wrong})


@given(st.floats(0, 1e3), st.floats(1, 1e4), st.floats(0.01, 1e3), st.floats(1, 64))
def test_a_million_tokens_cost_what_their_requests_do(
    per_hour: float, tokens: float, e2e_s: float, at_once: float
) -> None:
    served = Served(prompt_tokens=0, completion_tokens=tokens, e2e_s=e2e_s, at_once=at_once)
    found = own_cost(per_hour, served)
    assert found.million_tokens == pytest.approx(found.request * 1e6 / tokens)
    assert found.million_tokens == pytest.approx(per_hour / 3600 / served.tokens_per_s * 1e6)
