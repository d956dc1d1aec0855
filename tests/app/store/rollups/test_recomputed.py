"""The dashboard's figures, reckoned anew by a script that knows nothing of sums: SQLite's rows, and plain Python."""

from __future__ import annotations

import json
import math
import random
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.store import Overview, RunFilter, RunOutcome, RunSource, RunStatus, RunStore
from app.store.runs import writing
from app.store.runs.rollups import buckets, reading
from engine.types import Precision
from tests.support.cascading import CASCADE, make_cascade_report
from tests.support.disturbing import DISTURBED, QUIET
from tests.support.fakes import make_metrics, make_request

NOW = datetime(2026, 10, 27, 9, 5, tzinfo=UTC)
STATUSES = (RunStatus.FINISHED,) * 8 + (RunStatus.STOPPED, RunStatus.FAILED)
DAYS = {
    "Europe/Berlin": 25,  # hours of the longest day among these: clocks were set back on the 25th
    "Asia/Kolkata": 24,
    "Australia/Lord_Howe": 24,
    "Asia/Kathmandu": 24,
}


def add(store: RunStore, chance: random.Random) -> str:
    status = chance.choice(STATUSES)
    request = make_request(
        model=chance.choice(["small", "large <b>"]),
        precision=chance.choice([Precision.BF16, Precision.INT4]),
        cascade=CASCADE if chance.random() < 0.2 else None,
    )
    source = chance.choice([None, RunSource.API, RunSource.CHAT])
    key = chance.choice([None, "k'; --"]) if source is RunSource.API else None
    run_id = store.create_run(request, person_id="p", environment={}, source=source, key_name=key)
    if chance.random() < 0.05:
        return run_id
    e2e_s = chance.lognormvariate(0, 1)
    metrics = replace(
        make_metrics(e2e_s=e2e_s, ttft_s=e2e_s / 4),
        queue_s=chance.choice([0.0, e2e_s / 8]),
        cached_tokens=chance.randrange(3),
        verification_steps=chance.randrange(4),
        mean_batch_size=chance.choice([None, 1.0, 2.5]),
    )
    failed = status is RunStatus.FAILED
    outcome = RunOutcome(
        status,
        "",
        finish_reason=chance.choice(["stop", "length"]) if status is RunStatus.FINISHED else None,
        error="No." if failed else None,
        error_kind=chance.choice(["OutOfMemoryError", "Other"]) if failed else None,
        metrics=None if failed else metrics,
        disturbance=chance.choice([DISTURBED, QUIET]),
        cascade=make_cascade_report(large_alone_s=1.0) if request.config.optimization.cascade and not failed else None,
    )
    store.finish_run(run_id, outcome)
    return run_id


def rows_of(file: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(file)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM runs JOIN run_contents ON run_id = id")]


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    finished = [row for row in rows if row["status"] == "finished"]
    batches = [row["mean_batch_size"] for row in rows if row["mean_batch_size"] is not None]
    reports = [json.loads(row["cascade"]) for row in rows if row["cascade"] not in (None, "null")]
    return {
        "runs": len(rows),
        "statuses": Counter(row["status"] for row in rows),
        "prompt": sum(row["prompt_tokens"] or 0 for row in rows),
        "cached": sum(row["cached_tokens"] or 0 for row in rows),
        "steps": sum(row["verification_steps"] or 0 for row in rows),
        "reasons": Counter(row["finish_reason"] for row in finished),
        "errors": Counter(row["error_kind"] for row in rows if row["error_kind"]),
        "tiers": Counter(report["attempts"][-1]["tier"] for report in reports),
        "batch": round(sum(batches), 6),
        "disturbed": sum(bool(row["disturbed"]) for row in finished),
    }


def shown(totals: Any, work: Any) -> dict[str, Any]:
    return {
        "runs": totals.runs,
        "statuses": Counter({str(each): n for each in RunStatus if (n := getattr(totals, str(each)))}),
        "prompt": totals.prompt_tokens,
        "cached": totals.cached_tokens,
        "steps": work.verification_steps,
        "reasons": Counter({"stop": work.ended_stop, "length": work.ended_length}),
        "errors": Counter(work.errors),
        "tiers": Counter(work.tiers),
        "batch": round(work.batch_sizes, 6),
        "disturbed": totals.disturbed,
    }


def percentile(rows: Sequence[dict[str, Any]], name: str, share: float) -> float | None:
    values = sorted(
        row[name] for row in rows if row["status"] == "finished" and not row["disturbed"] and row[name] is not None
    )
    return values[math.ceil(share * len(values) - 1e-9) - 1] if values else None


def check(found: Overview, rows: list[dict[str, Any]], zone: ZoneInfo) -> None:
    assert shown(found.totals, found.work) == figures(rows)
    for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s"):
        for label, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
            expected = percentile(rows, name, share)
            seen = getattr(getattr(found.latency, name), label)
            assert (seen is None) == (expected is None)
            assert seen == pytest.approx(expected, rel=0.0101) if expected is not None else True
    by_day: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        started = datetime.fromtimestamp(row["created_at"] / 1e6, zone)
        by_day.setdefault(started.date(), []).append(row)
    assert {each.start.astimezone(zone).date(): shown(each.totals, each.work) for each in found.over_time} == {
        day: figures(some) for day, some in by_day.items()
    }
    for groups, column in ((found.by_model, "model"), (found.by_source, "source"), (found.by_key, "key_name")):
        runs = Counter(row[column] or "" for row in rows)
        assert {each.name: each.totals.runs for each in groups} == runs
    of_kinds: Counter[tuple[str, str, str]] = Counter()
    for kind in found.by_kind:
        of_kinds[kind.backend, kind.model, kind.precision] += kind.totals.runs
    assert of_kinds == Counter((row["backend"], row["model"], row["precision"]) for row in rows)
    runs = Counter(row["config_hash"] for row in rows)
    assert {each.configuration.config_hash: each.totals.runs for each in found.by_configuration} == runs


def days(zone: ZoneInfo) -> list[datetime]:
    today = NOW.astimezone(zone).date()
    midnights = [datetime.combine(today + timedelta(days=n), datetime.min.time(), zone) for n in range(-4, 2)]
    return [midnight.astimezone(UTC) for midnight in midnights]


@pytest.mark.parametrize("zone", DAYS)
def test_figures_are_those_of_the_rows_also_after_changes(
    file: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    chance, clock = random.Random(zone), [NOW]
    monkeypatch.setattr(writing, "now", lambda: clock[0])
    monkeypatch.setattr(buckets, "now", lambda: NOW)
    monkeypatch.setattr(reading, "EXACT_UP_TO", -1)
    edges = days(ZoneInfo(zone))
    assert max(b - a for a, b in pairwise(edges)) == timedelta(hours=DAYS[zone])
    kept: list[str] = []
    for step in range(60):
        clock[0] = NOW - timedelta(minutes=chance.randrange(3 * 24 * 60))
        kept.append(add(store, chance))
        if step % 20 == 19:
            while store.sum_up(most=50):
                pass
            check(store.overview(RunFilter(), edges), rows_of(file), ZoneInfo(zone))
            store.delete([kept.pop(chance.randrange(len(kept))) for _ in range(3)])
            check(store.overview(RunFilter(), edges), rows_of(file), ZoneInfo(zone))
