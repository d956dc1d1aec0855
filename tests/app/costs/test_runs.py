"""What single runs cost: time of this machine, tokens of servers, and cascades of both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.costs.runs import Costs, run_price
from app.remote.prices import ListPrice
from engine.types import (
    Backend,
    CascadeConfig,
    CascadeReport,
    OptimizationConfig,
    Precision,
    RemoteReport,
    RouterKind,
    RunConfig,
    Tier,
    TierAttempt,
)
from tests.support.fakes import make_metrics, make_request

OFFICE = RunConfig(model="@office", backend=Backend.REMOTE)
PRICES = {"@office": ListPrice(1.0, 4.0, 0.25)}
METRICS = replace(make_metrics(e2e_s=36.0), prompt_tokens=1_000_000, completion_tokens=500_000)


def test_a_servers_tokens_cost_what_its_list_says_and_no_time_of_this_machine() -> None:
    remote = RemoteReport(server="h", served_name="llama", cached_tokens=400_000)
    price = run_price(OFFICE, METRICS, per_hour=100.0, prices=PRICES, remote=remote)
    assert price is not None
    assert (price.amount, price.machine_s, price.listed) == (pytest.approx(0.6 + 0.1 + 2.0), 0.0, True)
    unknown = run_price(OFFICE, METRICS, per_hour=100.0, prices=PRICES)
    assert unknown is not None
    assert unknown.amount == pytest.approx(3.0)
    assert Costs.of(price, 10).hours_a_day == 0.0


def test_without_a_list_price_nothing_is_said() -> None:
    assert run_price(OFFICE, METRICS, per_hour=100.0, prices={}) is None


def test_what_a_server_did_not_count_has_no_price() -> None:
    uncounted = RemoteReport(server="h", served_name="llama", prompt_counted=False, cached_tokens=400_000)
    assert run_price(OFFICE, replace(METRICS, prompt_tokens=0), per_hour=1.0, prices=PRICES, remote=uncounted) is None
    too_many = RemoteReport(server="h", served_name="llama", cached_tokens=9_000_000)
    price = run_price(OFFICE, METRICS, per_hour=1.0, prices=PRICES, remote=too_many)
    assert price is not None
    assert price.amount == pytest.approx(0.25 + 2.0), "no prompt costs less than nothing"


def test_a_run_of_this_machine_costs_its_time() -> None:
    price = run_price(make_request().config, METRICS, per_hour=100.0, prices=PRICES)
    assert price is not None
    assert (price.amount, price.listed) == (pytest.approx(100 * (36.0 - METRICS.queue_s) / 3600), False)


def test_of_a_cascade_each_tier_costs_its_own_way() -> None:
    small = Tier(model="small", precision=Precision.INT4)
    cascade = CascadeConfig(smaller=(small,), thresholds=(0.3,))
    config = replace(OFFICE, optimization=OptimizationConfig(cascade=cascade))
    attempts = (
        TierAttempt(tier="small int4", kept=False, seconds=3.6, prompt_tokens=10, token_ids=(1, 2)),
        TierAttempt(tier="@office", kept=True, seconds=9.0, prompt_tokens=1_000_000, token_ids=(1,) * 250_000),
    )
    report = CascadeReport(
        router=RouterKind.ESCALATE, attempts=attempts, routing_s=0.0, discarded_tokens=2, salvaged_tokens=0
    )
    price = run_price(config, METRICS, per_hour=100.0, prices=PRICES, cascade=report)
    assert price is not None
    assert price.amount == pytest.approx(0.1 + 1.0 + 1.0)
    assert (price.machine_s, price.listed) == (3.6, True)
    stayed = replace(report, attempts=(replace(attempts[0], kept=True),))
    assert (kept := run_price(config, METRICS, per_hour=100.0, prices={}, cascade=stayed)) is not None
    assert (kept.amount, kept.listed) == (pytest.approx(0.1), False)
    assert run_price(config, METRICS, per_hour=100.0, prices={}, cascade=report) is None
    given_up = replace(report, attempts=(replace(attempts[1], prompt_tokens=None, kept=False), *attempts))
    assert run_price(config, METRICS, per_hour=100.0, prices=PRICES, cascade=given_up) is None
