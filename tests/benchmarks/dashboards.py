"""How quickly the Operations page reads its figures over many stored runs, and what a click on one leads to."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, make_url, select

from app.operations.objectives.attainment import attainment, goodput_over_time
from app.operations.stretches import cut
from app.store import ALL_TRAFFIC, WITHOUT_LABS, Metric, Objective, RunFilter, RunSort, RunStatus, RunStore, StoreError
from app.store.runs.schema import Run
from tests.benchmarks.store import CONFIGURATIONS, NEEDLE, NEWEST, REPEATS, SPACING, fill, hash_of
from tests.benchmarks.timing import timed

_ZONE = ZoneInfo("Asia/Kolkata")
"""Its days begin where no day of UTC does."""
_NOW = NEWEST + SPACING
_OBJECTIVES = tuple(
    Objective(
        id=metric, metric=metric, limit_s=limit_s, target=0.9, window_days=28, scope=ALL_TRAFFIC, created_at=NEWEST
    )
    for metric, limit_s in ((Metric.TTFT, 0.3), (Metric.TPOT, 0.03), (Metric.E2E, 4.0), (Metric.ERRORS, None))
)
_LATELY = timedelta(hours=1)
_WAIT_S = 1.0


def run(rows: int, databases: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows of ``operation, database, rows, cold_s, median_s, spread`` for what the Operations page reads over so many
    runs: a day, a month and all of time, and what a click on a figure and a search lead to. Cold is the first time
    after the database was opened; a dashboard is all that the page reads, SLOs and goodput included.

    Args:
        rows: how many runs are made up.
        databases: URLs of run databases that are empty, or filled at an earlier time; one on SQLite that is thrown away
            unless any is given.
    """
    with tempfile.TemporaryDirectory() as folder:
        urls = databases or [f"sqlite:///{Path(folder) / 'gearbox.db'}"]
        return [row for url in urls for row in _measure(url, rows)]


def _measure(url: str, rows: int) -> list[dict[str, Any]]:
    measured, rows = _prepare(url, rows)
    for name, operation in _dashboards(rows).items():
        store = RunStore.open(url)
        begun = perf_counter()
        operation(store)
        cold_s = perf_counter() - begun
        measured.append({"operation": name, "cold_s": cold_s, **timed(partial(operation, store), REPEATS)})
        store.close()
    on = make_url(url).get_backend_name()
    return [{"operation": each.pop("operation"), "database": on, "rows": rows, **each} for each in measured]


def _prepare(url: str, rows: int) -> tuple[list[dict[str, Any]], int]:
    """Make the runs, unless they are there, and let the background's work be done: how long that took, and how many
    runs there are."""
    store = RunStore.open(url)
    with store._database.read() as session:
        there = session.scalar(select(func.count()).select_from(Run)) or 0
    if not there:
        store.close()
        fill(url, rows)
        store = RunStore.open(url)
    begun = perf_counter()
    more = True
    while more:
        with suppress(StoreError):  # the store's own thread is at it
            more = store.sum_up(most=1_000)
    summed_s = perf_counter() - begun
    while store.texts.add_some() or store.texts.waiting():
        sleep(_WAIT_S if store.texts.waiting() else 0)
    if not there and not store._database.file:  # as the server does by itself, sooner or later
        with store._database.outside_transactions() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    store.close()
    return [] if there else [{"operation": "summing up", "cold_s": summed_s}], there or rows


def _dashboards(rows: int) -> dict[str, Callable[[RunStore], object]]:
    everyone = RunFilter(sources=WITHOUT_LABS)
    day, month = (replace(everyone, since=NEWEST - timedelta(days=days)) for days in (1, 30))
    configured = replace(month, config_hashes=(hash_of(CONFIGURATIONS[0]),))
    slowest = RunSort("e2e_s")
    all_days = rows * SPACING / timedelta(days=1)

    def edges(days: float) -> tuple[datetime, ...]:
        return cut(NEWEST - timedelta(days=days), _NOW, _ZONE)

    def goodput(days: float) -> Callable[[RunStore], object]:
        return lambda store: goodput_over_time(store.objectives, _OBJECTIVES, everyone, edges(days), _NOW)

    def overview(days: float, filter: RunFilter = everyone) -> Callable[[RunStore], object]:
        return lambda store: store.overview(filter, edges(days))

    def dashboard(days: float) -> Callable[[RunStore], object]:
        def read(store: RunStore) -> None:
            for objective in _OBJECTIVES:
                attainment(store.objectives, objective, _NOW)
            store.facets()
            overview(days)(store)
            store.overview(everyone, (_NOW - _LATELY, _NOW))
            goodput(days)(store)

        return read

    return {
        "dashboard of a day": dashboard(1),
        "dashboard of a month": dashboard(30),
        "dashboard of all of time": dashboard(all_days),
        "a day": overview(1),
        "a month": overview(30),
        "a month of a model": overview(30, replace(everyone, models=("smollm2-135m",))),
        "all of time": overview(all_days),
        "goodput over a month": goodput(30),
        "goodput over all of time": goodput(all_days),
        "facets": lambda store: store.facets(),
        "slowest of a month": lambda store: store.page(month, slowest, limit=10),
        "slowest of all": lambda store: store.page(everyone, slowest, limit=10),
        "a day's runs": lambda store: store.page(day),
        "a configuration's runs of a month": lambda store: store.page(configured),
        "a month's failures": lambda store: store.page(replace(month, statuses=(RunStatus.FAILED,))),
        "a month's runs by error": lambda store: store.page(replace(month, error_kinds=("OutOfMemoryError",))),
        "text search": lambda store: store.page(RunFilter(text=NEEDLE)),
        "text search without a match": lambda store: store.page(RunFilter(text="not to be found")),
        "text search, very many matches": lambda store: store.page(RunFilter(text="scatters")),
        "text search within a month": lambda store: store.page(replace(month, text=NEEDLE)),
    }
