"""An experiment's report and its replay as files."""

from __future__ import annotations

from pathlib import Path

from app.costs.pricing import load_prices, prices_path
from app.experiments.command.terminal import say
from app.experiments.reporting.day import Day
from app.experiments.reporting.page import report_page
from app.experiments.reporting.replay import replay_file
from app.experiments.results.arrays import Results
from app.models.remote.registry import RemoteModels
from app.replay.page_file import MOST_LANES
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
        day=Day(
            per_hour=machine.per_hour,
            currency=prices.currency,
            watts=machine.watts,
            prices=RemoteModels.of(settings, store).prices(),
        ),
    )
    file.write_text(page, encoding="utf-8")
    say(f"The report is in {file}.")


def write_replay(store: RunStore, results: Results, file: Path, prompt_id: str | None, candidate: str | None) -> None:
    """Write the timed answers to a prompt as a replay: the baseline's, and the candidate's that is named or else those
    of the first candidates.

    Raises:
        InvalidRequestError: there is no such candidate or prompt, or nothing to replay.
        GearboxError: a run was not kept whole, or the database cannot be read.
    """
    first = results.design.baseline
    others = [place for place in range(len(results.names)) if place != first]
    lanes = others[: MOST_LANES - 1] if candidate is None else [_candidate(results, candidate)]
    file.write_text(replay_file(store, results, prompt_id, [first, *lanes]), encoding="utf-8")
    say(f"The replay is in {file}.")


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
