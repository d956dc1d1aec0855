"""Seconds from a request to a model that is ready, its packed weights on disk, imports apart."""

from __future__ import annotations

import statistics
from contextlib import closing
from pathlib import Path

from engine import Engine, list_models
from tests.benchmarks.lanes import LANES, SMALL_MODELS, ask
from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread

REPEATS = 3


def run(models_dir: Path) -> list[Row]:
    """Load each lane's model in an engine of its own, several times; the first makes the packed file."""
    installed = {model.name for model in list_models(models_dir) if model.installed}
    rows: list[Row] = []
    for model in SMALL_MODELS:
        for lane in LANES.values():
            if model not in installed:
                continue
            seconds = []
            for _ in range(REPEATS + 1):
                with closing(Engine(models_dir)) as engine:
                    seconds.append(ask(engine, model, lane, "Hello", 1).metrics.load_s)
            backend, precision = lane
            rows.append(
                {
                    "model": model,
                    "engine": str(backend),
                    "precision": str(precision),
                    "first_load_s": seconds[0],
                    "later_load_s": statistics.median(seconds[1:]),
                    "spread": spread(seconds[1:]),
                }
            )
    return rows
