"""Prices and what is derived from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.costs.pricing import PricesError, cost, load_prices, prices_path
from app.costs.runs import Costs, run_price
from app.settings import REPOSITORY
from tests.support.fakes import make_metrics, make_request


def test_cost_is_price_times_measured_time() -> None:
    assert cost(0.72, 10.0) == pytest.approx(0.002)
    assert cost(0.72, 0.0) == 0


def test_shipped_prices_can_be_used() -> None:
    prices = load_prices(REPOSITORY / "data" / "prices.toml")
    assert prices.currency
    assert prices.machines[0].per_hour > 0


def test_own_file_comes_before_the_shipped_one(tmp_path: Path) -> None:
    assert prices_path(tmp_path) == REPOSITORY / "data" / "prices.toml"
    own = tmp_path / "prices.toml"
    own.write_text('currency = "€"\n[[machine]]\nname = "Mine"\nper_hour = 2\n', encoding="utf-8")
    assert prices_path(tmp_path) == own
    assert load_prices(own).machines[0].per_hour == 2.0


@pytest.mark.parametrize(
    "text",
    [
        "currency = ",
        'currency = "$"',
        'currency = "$"\nmachine = []',
        '[[machine]]\nname = "Mine"\nper_hour = 1',
        'currency = "$"\n[[machine]]\nname = "Mine"\nper_hour = -1',
        'currency = "$"\n[[machine]]\nname = "Mine"\nper_hour = nan',
        'currency = "$"\n[[machine]]\nname = "Mine"\nper_hour = "much"',
        'currency = "$"\nmachine = "Mine"',
        'currency = "$"\n[[machine]]\nname = "Mine"\nper_hour = ' + "9" * 400,
        'currency = "$"\n[[machine]]\nname = "Mine"\nper_hour = ' + "9" * 5000,
        "machine = " + "[" * 100_000,
    ],
)
def test_unusable_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PricesError, match=r"prices\.toml"):
        load_prices(path)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('currency = "$"\r\n[[machine]]\r\nname = "Mine"\r\nper_hour = 1\r\n', encoding="utf-8-sig")
    assert load_prices(path).machines[0].name == "Mine"


def test_a_machines_power_may_be_stated(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    machine = 'currency = "$"\n[[machine]]\nname = "Mine"\nper_hour = 1\n'
    path.write_text(machine, encoding="utf-8")
    assert load_prices(path).machines[0].watts is None
    path.write_text(f"{machine}watts = 45\n", encoding="utf-8")
    assert load_prices(path).machines[0].watts == 45.0
    for watts in ("0", "-3", "nan", "inf", '"many"'):
        path.write_text(f"{machine}watts = {watts}\n", encoding="utf-8")
        with pytest.raises(PricesError, match=r"prices\.toml"):
            load_prices(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match=r"nowhere\.toml"):
        load_prices(tmp_path / "nowhere.toml")


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1e3), st.integers(1, 10**7))
def test_costs_are_price_times_time(per_hour: float, busy_s: float, queue_s: float, prompts: int) -> None:
    metrics = replace(make_metrics(e2e_s=busy_s + queue_s), queue_s=queue_s)
    price = run_price(make_request().config, metrics, per_hour=per_hour, prices={})
    assert price is not None
    found = Costs.of(price, prompts)
    assert found.prompt == pytest.approx(per_hour * busy_s / 3600, abs=1e-9)
    assert found.thousand == pytest.approx(1_000 * found.prompt)
    assert found.day == pytest.approx(prompts * found.prompt)
    assert found.day == pytest.approx(per_hour * found.hours_a_day, rel=1e-6, abs=1e-6)
    assert min(found.prompt, found.thousand, found.day, found.hours_a_day) >= -1e-6
