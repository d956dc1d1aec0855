"""What costs and energies are reckoned with on the page: the machine's price and power as the session states them."""

from __future__ import annotations

from app import resources
from app.costs.pricing import load_prices, prices_path
from app.experiments.reporting.day import Day
from app.session import playground, self_hosting


def stated_day() -> Day:
    """A usual day at the Playground's machine price. The power is the one that was entered under Costs, else that of
    the machine in the price file that has this price.

    Raises:
        PricesError: the price file cannot be read.
        StoreError: the run database cannot be read.
    """
    prices = load_prices(prices_path(resources.get_settings().data_dir))
    per_hour = playground.price_per_hour(prices.machines[0].per_hour)
    of_machine = next((each.watts for each in prices.machines if each.per_hour == per_hour), None)
    return Day(
        per_hour=per_hour,
        currency=prices.currency,
        watts=self_hosting.BUSY_WATTS.value or of_machine,
        prices=resources.get_remote_models().prices(),
    )
