"""``gearbox experiment run FILE``, ``gearbox experiment report NAME`` and ``gearbox experiment export NAME``."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from app.engines import open_engine
from app.experiments.command.reports import write_page, write_replay
from app.experiments.command.terminal import check_place, give, named, report_to, say
from app.experiments.judging.hearing import read_hearing
from app.experiments.planning.design import Size
from app.experiments.planning.reading import read_design
from app.experiments.reporting.lm_eval import lm_eval_files
from app.experiments.results.arrays import Results, read_results
from app.experiments.results.table import table_of
from app.experiments.running.job import run_experiment
from app.experiments.running.starting import keep_design
from app.models.remote.registry import RemoteModels
from app.settings import Settings
from app.store import ExperimentState, KeptExperiment, RunStore, StartedFrom, UnderWayError
from engine import MOST_RUNNING
from engine.errors import InvalidRequestError
from engine.models import terminal_bar


def run_file(options: argparse.Namespace) -> int:
    """Run what ``options.file`` describes, with few prompts where ``options.quick`` says so, and what failed once more
    where ``options.retry_failed`` does.

    Raises:
        UnderWayError: a server, or another command, runs it already.
        DesignError: the file describes no experiment.
        GearboxError: whatever keeps the experiment from its end; what it has is kept.
    """
    if options.report:
        check_place(Path(options.report))
    read = read_design(Path(options.file), size=Size.QUICK if options.quick else None)
    design, settings = read.design, Settings.from_env()
    for note in read.notes:
        say(note)
    with closing(RunStore.of(settings)) as store:
        kept = store.experiments.of_design(design.sha256)
        kept = kept or store.experiments.get(keep_design(store, design))
        retried = kept.failed if options.retry_failed else 0
        if kept.state is not ExperimentState.DONE or retried:
            if kept.under_way:
                raise UnderWayError(kept.name, kept.under_way)
            say(_beginning(kept, design.cells, retried))
            with (
                closing(open_engine(settings, RemoteModels.of(settings, store).resolve)) as engine,
                terminal_bar(design.name) as bar,
            ):
                run_experiment(
                    engine,
                    store,
                    kept.id,
                    report_to(bar),
                    at_once=MOST_RUNNING,
                    started_from=StartedFrom.COMMAND_LINE,
                    retry_failed=options.retry_failed,
                )
        results = _results(store, kept.id)
        give(table_of(results))
        if options.report:
            write_page(store, results, Path(options.report), None, settings)
    return 0


def write_report(options: argparse.Namespace) -> int:
    """Write the report of the experiment that ``options.experiment`` names to ``options.output``, and where
    ``options.replay`` names a file, the answers to ``options.prompt`` there, played again.

    Raises:
        InvalidRequestError: there is no such experiment or candidate, or nothing to report yet.
        GearboxError: the database or the price file cannot be read.
    """
    settings = Settings.from_env()
    with closing(RunStore.of(settings)) as store:
        kept = named(store.experiments.all(), options.experiment)
        results = _results(store, kept.id)
        write_page(store, results, Path(options.output), options.candidate, settings)
        if options.replay:
            write_replay(store, results, Path(options.replay), options.prompt, options.candidate)
    return 0


def export_results(options: argparse.Namespace) -> int:
    """Write what the experiment that ``options.experiment`` names has come to into the folder ``options.output``, with
    its answers where ``options.samples`` says so.

    Raises:
        InvalidRequestError: there is no such experiment, or nothing of it was answered.
        GearboxError: the database cannot be read.
        OSError: a file cannot be written.
    """
    settings, folder = Settings.from_env(), Path(options.output)
    with closing(RunStore.of(settings)) as store:
        results = _results(store, named(store.experiments.all(), options.experiment).id)
        if not results.cells:
            raise InvalidRequestError(f"Nothing of “{results.kept.name}” was answered yet.")
        for file in lm_eval_files(store, results, samples=options.samples):
            place = folder / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(file.text, encoding="utf-8")
            give(f"{place}\n")
    return 0


def _results(store: RunStore, experiment_id: str) -> Results:
    """With the verdicts of the judge that counts, where one was asked."""
    return read_hearing(store, read_results(store, experiment_id)).results


def _beginning(kept: KeptExperiment, cells: int, retried: int) -> str:
    done = f", of which {kept.cells:,} are there already" if kept.cells else ""
    done += f" and {retried:,} failed and are asked again" if retried else ""
    return f"{kept.name}: {cells:,} answers{done}. Ctrl+C pauses; the same command goes on."
