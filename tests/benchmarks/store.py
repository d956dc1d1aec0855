"""How quickly a store of 100,000 runs answers what the Runs and Operations pages ask of it, and takes another."""

from __future__ import annotations

import hashlib
import io
import random
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from sqlalchemy import insert

from app.store import ALL_RUNS, RunFilter, RunSort, RunStatus, RunStore
from app.store.database.columns import to_microseconds
from app.store.database.session import Database
from app.store.runs.rollups.buckets import has_changed
from app.store.runs.schema import Run, RunContent, RunTag, RunTimeline
from app.store.runs.timeline import Timeline
from tests.benchmarks.timing import timed, times_s
from tests.support.ui import add_run

ROWS = 100_000
REPEATS = 5
NEWEST = datetime(2026, 3, 1, tzinfo=UTC)
NEEDLE = "quokka"
"""A word in the answer of every 1,000th run."""
SPACING = timedelta(seconds=30)
_BATCH = 5_000
_SENTENCE = "the sky scatters short waves of light more than long ones so it looks blue at noon and red at dusk"
_WORDS = _SENTENCE.split()
_STATUSES = (RunStatus.FINISHED,) * 17 + (RunStatus.STOPPED, RunStatus.FAILED, RunStatus.INTERRUPTED)
CONFIGURATIONS = [
    (model, backend, precision, temperature)
    for model in ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
    for backend, precision in (("reference", "bf16"), ("local", "bf16"), ("local", "int4"), ("local", "nf4"))
    for temperature in (0.0, 0.7)
]


def run() -> list[dict[str, Any]]:
    """Rows of ``operation, rows, median_s, spread, cpu_s``: the last is the median of what it took of processors."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'gearbox.db'}"
        store = RunStore.open(url)
        fill(url, ROWS)
        measured = [
            {
                "operation": name,
                "rows": ROWS,
                **timed(operation, REPEATS),
                "cpu_s": median(times_s(operation, REPEATS, process_time)),
            }
            for name, operation in _operations(store).items()
        ]
        store.close()
    return measured


def fill(database_url: str, rows: int, *, seed: int = 0) -> None:
    """Insert made-up runs in bulk, the newest at `NEWEST`, one each 30 s, a tenth of them tagged."""
    chance = random.Random(seed)
    database = Database(database_url)
    for start in range(0, rows, _BATCH):
        numbers = range(start, min(start + _BATCH, rows))
        made = [_make_run(number, chance) for number in numbers]
        with database.write() as session:
            session.execute(insert(Run), [run for run, _ in made])
            session.execute(insert(RunContent), [content for _, content in made])
            session.execute(insert(RunTimeline), [{"run_id": run["id"], "payload": _TIMELINE} for run, _ in made])
            session.execute(
                insert(RunTag), [{"run_id": _run_id(number), "tag": "kept"} for number in numbers if number % 10 == 0]
            )
            has_changed(session, [run["created_at"] for run, _ in made])
    database.close()


def _run_id(number: int) -> str:
    return f"{number:032x}"


def hash_of(configuration: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(configuration).encode()).hexdigest()[:16]


def _make_run(number: int, chance: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    configuration = model, backend, precision, temperature = chance.choice(CONFIGURATIONS)
    status = _STATUSES[number % len(_STATUSES)]
    measured = status in (RunStatus.FINISHED, RunStatus.STOPPED)
    tpot_s = chance.lognormvariate(-4, 0.5)
    ttft_s = chance.lognormvariate(-2, 0.7)
    tokens = chance.randrange(2, 256)
    created_at = NEWEST - number * SPACING
    answer = " ".join(chance.choices(_WORDS, k=120)) + (f" {NEEDLE}" if number % 1_000 == 0 else "")
    figures = {
        "ttft_s": ttft_s,
        "tpot_s": tpot_s,
        "itl_p50_s": tpot_s,
        "itl_p99_s": 2 * tpot_s,
        "e2e_s": ttft_s + tpot_s * (tokens - 1),
        "queue_s": 0.0,
        "load_s": 0.3,
        "prefill_s": ttft_s,
        "prompt_tokens": 40,
        "cached_tokens": 0,
        "completion_tokens": tokens,
        "drafted_tokens": 0,
        "accepted_tokens": 0,
        "weights_bytes": 98_000_000,
        "kv_bytes": 23_040 * (40 + tokens),
        "peak_rss_bytes": 900_000_000 + number,
    }
    row = {
        "id": _run_id(number),
        "created_at": created_at,
        "status": status,
        "person_id": f"{number % 50:032x}",
        "session_id": "",
        "model": model,
        "backend": backend,
        "precision": precision,
        "config_hash": hash_of(configuration),
        "seed": 0,
        "finish_reason": "stop" if status is RunStatus.FINISHED else None,
        "error_kind": "OutOfMemoryError" if status is RunStatus.FAILED else None,
        "note": "",
        "rating": number % 3 - 1,
        "owner_host": "bench",
        "owner_pid": 1,
        "owner_started": to_microseconds(created_at) / 1e6,
        "seen_at": created_at,
        **(figures if measured else dict.fromkeys(figures)),
    }
    content = {
        "run_id": _run_id(number),
        "prompt": " ".join(chance.choices(_WORDS, k=40)),
        "text": answer,
        "error": "There is not enough memory." if status == RunStatus.FAILED else None,
        "error_kind": row["error_kind"],
        "messages": [{"role": "user", "content": answer[:200]}],
        "config": {"model": model, "backend": backend, "sampling": {"temperature": temperature}},
        "environment": {"device": "cpu", "threads": 2, "torch": "2.13.0", "cpu": "a made-up processor"},
    }
    return row, content


_TIMELINE = Timeline(
    token_ids=tuple(range(100)),
    texts=tuple(_WORDS[number % len(_WORDS)] for number in range(100)),
    t_s=tuple(number / 70 for number in range(100)),
    logprob=(-0.5,) * 100,
    entropy=(1.0,) * 100,
    source=("target",) * 100,
    tier=(None,) * 100,
).pack()


def _operations(store: RunStore) -> dict[str, Callable[[], object]]:
    day = RunFilter(since=NEWEST - timedelta(days=1))
    month = RunFilter(since=NEWEST - timedelta(days=35))
    model = RunFilter(models=("smollm2-135m",), precisions=("int4",))
    return {
        "first page": lambda: store.page(),
        "last page": lambda: store.page(offset=ROWS - 50),
        "page by E2E": lambda: store.page(sort=RunSort("e2e_s")),
        "page of a model and precision": lambda: store.page(model),
        "page of a tag": lambda: store.page(RunFilter(tags=("kept",))),
        "text search": lambda: store.page(RunFilter(text=NEEDLE)),
        "text search without a match": lambda: store.page(RunFilter(text="not to be found")),
        "facets": store.facets,
        "totals": store.totals,
        "latency percentiles": store.latency,
        "one day by the hour": lambda: store.over_time(day, timedelta(hours=1)),
        "all by the hour": lambda: store.over_time(month, timedelta(hours=1)),
        "all by the day": lambda: store.over_time(ALL_RUNS, timedelta(days=1)),
        "by configuration": store.by_configuration,
        "export of one day as JSONL": lambda: store.export_jsonl(day, io.StringIO()),
        "a run's row and its end": lambda: add_run(store, words=_WORDS),
    }
