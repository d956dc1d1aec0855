"""The command ``gearbox experiment run FILE``: runs an experiment beside a server that may be running, and prints its
table. Run again, it goes on where it was.

Exit codes: 0, 1 for a failure, 2 for bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from app.experiments.design import Size
from app.experiments.reading import read_design
from app.experiments.results import read_results
from app.experiments.running import run_experiment
from app.experiments.starting import keep_design
from app.experiments.table import table_of
from app.settings import Settings
from app.store import ExperimentState, KeptExperiment, RunStore
from engine import MOST_RUNNING, Engine
from engine.models import terminal_bar

if TYPE_CHECKING:
    from app.jobs import Report


def run_file(options: argparse.Namespace) -> int:
    """Run what ``options.file`` describes, with few prompts where ``options.quick`` says so.

    Raises:
        DesignError: the file describes no experiment.
        GearboxError: whatever keeps the experiment from its end; what it has is kept.
    """
    read = read_design(Path(options.file), size=Size.QUICK if options.quick else None)
    design, settings = read.design, Settings.from_env()
    for note in read.notes:
        _say(note)
    with closing(RunStore.open(settings.database_url, [settings.data_dir])) as store:
        kept = store.experiments.of_design(design.sha256)
        kept = kept or store.experiments.get(keep_design(store, design))
        if kept.state is not ExperimentState.DONE:
            _say(_beginning(kept, design.cells))
            with closing(_engine(settings)) as engine, terminal_bar(design.name) as bar:
                run_experiment(engine, store, kept.id, _report(bar), at_once=MOST_RUNNING)
        results = read_results(store, kept.id)
    sys.stdout.write(table_of(results))
    return 0


def _beginning(kept: KeptExperiment, cells: int) -> str:
    done = f", of which {kept.cells:,} are there already" if kept.cells else ""
    return f"{kept.name}: {cells:,} answers{done}. Ctrl+C pauses; the same command goes on."


def _engine(settings: Settings) -> Engine:
    return Engine(
        settings.models_dir,
        threads=settings.threads,
        model_memory_bytes=settings.model_memory_bytes,
        device=settings.device,
        kv_cache_bytes=settings.kv_cache_bytes,
    )


def _report(bar: Callable[[str, float], None]) -> Report:
    def report(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        bar(stage, fraction)

    return report


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
