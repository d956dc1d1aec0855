"""How quickly the Operations page reads its figures over many stored runs, and what a click on one leads to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from app.operations.stretches import cut
from app.store import WITHOUT_LABS, RunFilter, RunSort, RunStatus, RunStore
from tests.benchmarks.store import CONFIGURATIONS, NEWEST, REPEATS, SPACING, fill, hash_of
from tests.benchmarks.timing import timed


def run(rows: int) -> list[dict[str, Any]]:
    """Rows of ``operation, rows, cold_s, median_s, spread`` for what the Operations page reads over so many runs: a
    day, a month and all of time, by days that begin where no day of UTC does, and what a click on a figure leads to.
    Cold is the first time after the database was opened."""
    zone = ZoneInfo("Asia/Kolkata")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'gearbox.db'}"
        store = RunStore.open(url)
        fill(url, rows)
        begun = perf_counter()
        while store.sum_up(most=1_000):
            pass
        summed_s = perf_counter() - begun
        store.close()
        measured: list[dict[str, Any]] = [{"operation": "summing up", "rows": rows, "cold_s": summed_s}]
        for name, operation in _dashboards(zone, rows).items():
            store = RunStore.open(url)
            begun = perf_counter()
            operation(store)
            cold_s = perf_counter() - begun
            again = timed(partial(operation, store), REPEATS)
            measured.append({"operation": name, "rows": rows, "cold_s": cold_s, **again})
            store.close()
    return measured


def _dashboards(zone: ZoneInfo, rows: int) -> dict[str, Callable[[RunStore], object]]:
    day, month = (RunFilter(since=NEWEST - timedelta(days=days), sources=WITHOUT_LABS) for days in (1, 30))
    configured = replace(month, config_hashes=(hash_of(CONFIGURATIONS[0]),))
    slowest = RunSort("e2e_s")

    def overview(days: float, filter: RunFilter = day) -> Callable[[RunStore], object]:
        edges = cut(NEWEST - timedelta(days=days), NEWEST + SPACING, zone)
        return lambda store: store.overview(filter, edges)

    return {
        "a day": overview(1),
        "a month": overview(30),
        "a month of a model": overview(30, replace(month, models=("smollm2-135m",))),
        "all of time": overview(rows * SPACING / timedelta(days=1)),
        "facets": lambda store: store.facets(),
        "slowest of a month": lambda store: store.page(month, slowest, limit=10),
        "slowest of all": lambda store: store.page(RunFilter(sources=WITHOUT_LABS), slowest, limit=10),
        "a day's runs": lambda store: store.page(day),
        "a configuration's runs of a month": lambda store: store.page(configured),
        "a month's failures": lambda store: store.page(replace(month, statuses=(RunStatus.FAILED,))),
        "a month's runs by error": lambda store: store.page(replace(month, error_kinds=("OutOfMemoryError",))),
    }
