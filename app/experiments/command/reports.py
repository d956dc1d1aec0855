"""An experiment's report as a file."""

from __future__ import annotations

from pathlib import Path

from app.costs.pricing import load_prices, prices_path
from app.experiments.command.terminal import say
from app.experiments.reporting.day import Day
from app.experiments.reporting.page import report_page
from app.experiments.results.arrays import Results
from app.settings import Settings
from app.store import RunStore
from engine.errors import InvalidRequestError


def write_page(store: RunStore, results: Results, file: Path, candidate: str | None, settings: Settings) -> None:
    """Write the report on a candidate, the last one unless it is named.

    Raises:
        InvalidRequestError: there is no such candidate, or nothing to report yet.
        GearboxError: the database or the price file cannot be read.
    """
    prices = load_prices(prices_path(settings.data_dir))
    machine = prices.machines[0]
    page = report_page(
        store,
        results,
        _candidate(results, candidate),
        margin_points=results.design.margin_points,
        day=Day(per_hour=machine.per_hour, currency=prices.currency, watts=machine.watts),
    )
    file.write_text(page, encoding="utf-8")
    say(f"The report is in {file}.")


def _candidate(results: Results, wanted: str | None) -> int:
    """Its place."""
    places = {name: place for place, name in enumerate(results.names) if place != results.design.baseline}
    if not places:
        raise InvalidRequestError("This experiment has one configuration: there is nothing to report.")
    if wanted is None:
        return list(places.values())[-1]
    if wanted not in places:
        raise InvalidRequestError(f"No candidate is called “{wanted}”. There are: {', '.join(places)}.")
    return places[wanted]
