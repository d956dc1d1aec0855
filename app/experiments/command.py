"""The command ``gearbox experiment run FILE``: runs an experiment beside a server that may be running, and prints its
table. Run again, it goes on where it was. And ``gearbox experiment report``: writes a candidate's report.

Exit codes: 0, 1 for a failure, 2 for bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from app.costs.pricing import load_prices, prices_path
from app.engines import open_engine
from app.experiments.planning.design import Size
from app.experiments.planning.reading import read_design
from app.experiments.reporting.day import Day
from app.experiments.reporting.page import report_page
from app.experiments.results.arrays import Results, read_results
from app.experiments.results.table import table_of
from app.experiments.running.job import run_experiment
from app.experiments.running.starting import keep_design
from app.settings import Settings
from app.store import ExperimentState, KeptExperiment, RunStore, StartedFrom, UnderWayError
from engine import MOST_RUNNING
from engine.errors import InvalidRequestError
from engine.models import terminal_bar

if TYPE_CHECKING:
    from app.jobs import Report


def run_file(options: argparse.Namespace) -> int:
    """Run what ``options.file`` describes, with few prompts where ``options.quick`` says so, and what failed once more
    where ``options.retry_failed`` does.

    Raises:
        UnderWayError: a server, or another command, runs it already.
        DesignError: the file describes no experiment.
        GearboxError: whatever keeps the experiment from its end; what it has is kept.
    """
    if options.report:
        _check_place(Path(options.report))
    read = read_design(Path(options.file), size=Size.QUICK if options.quick else None)
    design, settings = read.design, Settings.from_env()
    for note in read.notes:
        _say(note)
    with closing(RunStore.open(settings.database_url, [settings.data_dir])) as store:
        kept = store.experiments.of_design(design.sha256)
        kept = kept or store.experiments.get(keep_design(store, design))
        retried = kept.failed if options.retry_failed else 0
        if kept.state is not ExperimentState.DONE or retried:
            if kept.under_way:
                raise UnderWayError(kept.name, kept.under_way)
            _say(_beginning(kept, design.cells, retried))
            with closing(open_engine(settings)) as engine, terminal_bar(design.name) as bar:
                run_experiment(
                    engine,
                    store,
                    kept.id,
                    _report(bar),
                    at_once=MOST_RUNNING,
                    started_from=StartedFrom.COMMAND_LINE,
                    retry_failed=options.retry_failed,
                )
        results = read_results(store, kept.id)
        sys.stdout.write(table_of(results))
        if options.report:
            _write_report(store, results, Path(options.report), None, settings)
    return 0


def write_report(options: argparse.Namespace) -> int:
    """Write the report of the experiment that ``options.experiment`` names to ``options.output``.

    Raises:
        InvalidRequestError: there is no such experiment or candidate, or nothing to report yet.
        GearboxError: the database or the price file cannot be read.
    """
    settings = Settings.from_env()
    with closing(RunStore.open(settings.database_url, [settings.data_dir])) as store:
        kept = _named(store.experiments.all(), options.experiment)
        _write_report(store, read_results(store, kept.id), Path(options.output), options.candidate, settings)
    return 0


def _named(experiments: Sequence[KeptExperiment], wanted: str) -> KeptExperiment:
    """The one with this id, or else the newest of this name."""
    by_id = (each for each in experiments if each.id == wanted)
    found = next(by_id, None) or next((each for each in experiments if each.name == wanted), None)
    if found is None:
        names = ", ".join(f"“{name}”" for name in dict.fromkeys(each.name for each in experiments))
        there = f"There are: {names}." if names else "There are none yet."
        raise InvalidRequestError(f"No experiment has the id or the name “{wanted}”. {there}")
    return found


def _write_report(store: RunStore, results: Results, file: Path, candidate: str | None, settings: Settings) -> None:
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
    _say(f"The report is in {file}.")


def _candidate(results: Results, wanted: str | None) -> int:
    """Its place: the last one unless it is named."""
    places = {name: place for place, name in enumerate(results.names) if place != results.design.baseline}
    if not places:
        raise InvalidRequestError("This experiment has one configuration: there is nothing to report.")
    if wanted is None:
        return list(places.values())[-1]
    if wanted not in places:
        raise InvalidRequestError(f"No candidate is called “{wanted}”. There are: {', '.join(places)}.")
    return places[wanted]


def _check_place(file: Path) -> None:
    """See that a report can be written before hours of work, not after."""
    if not file.absolute().parent.is_dir():
        raise InvalidRequestError(f"{file} cannot be written: there is no folder {file.parent}.")


def _beginning(kept: KeptExperiment, cells: int, retried: int) -> str:
    done = f", of which {kept.cells:,} are there already" if kept.cells else ""
    done += f" and {retried:,} failed and are asked again" if retried else ""
    return f"{kept.name}: {cells:,} answers{done}. Ctrl+C pauses; the same command goes on."


def _report(bar: Callable[[str, float], None]) -> Report:
    def report(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        bar(stage, fraction)

    return report


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
