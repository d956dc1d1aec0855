"""Helpers of the page tests: the app from its entry, on a store of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from app import resources
from app.background.jobs import Jobs
from app.runs.races import Races
from app.store import RunOutcome, RunSource, RunStatus, RunStore, Timeline
from engine.types import (
    CacheReport,
    CascadeReport,
    Disturbance,
    GenerationRequest,
    RunMetrics,
    SpeculationReport,
    TokenEvent,
)
from tests.support.fakes import FakeEngine, make_metrics, make_request

ESTIMATES = SimpleNamespace(of=lambda model: {"bf16": 256 << 20, "int4": 90 << 20, "nf4": 80 << 20})
"""Of what any model takes in memory: nothing is read, and torch stays out of the page tests."""
ENTRY = Path(__file__).parents[2] / "streamlit_app.py"
_registered: dict[str, Any] = {}
"""The pages that the entry has, once it has run."""

# An AppTest reads the metadata of every installed package, to look for components: longer than a page takes to draw.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


def open_app(
    monkeypatch: pytest.MonkeyPatch,
    store: RunStore,
    page: str,
    query: Mapping[str, str | Sequence[str]] | None = None,
    *,
    engine: FakeEngine | None = None,
) -> AppTest:
    """The app on a page, as a link opens it, its resources replaced by this store and a fake engine."""
    replace_resources(monkeypatch, store, engine or FakeEngine())
    app = AppTest.from_file(str(ENTRY), default_timeout=60)
    if not _registered:
        _registered.update(AppTest.from_file(str(ENTRY), default_timeout=60).run()._registered_pages)
    app._registered_pages = _registered
    app.switch_page(page)
    for name, value in (query or {}).items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def replace_resources(monkeypatch: pytest.MonkeyPatch, store: RunStore, engine: FakeEngine) -> None:
    """Let pages use this store, as it is seen by the application itself, and this engine."""
    monkeypatch.setattr(resources, "get_store", lambda: store)
    races = Races()
    monkeypatch.setattr(resources, "get_engine", lambda: engine)
    monkeypatch.setattr(resources, "get_races", lambda: races)
    monkeypatch.setattr(resources, "get_estimates", lambda: ESTIMATES)


def add_run(
    store: RunStore,
    request: GenerationRequest | None = None,
    *,
    words: Sequence[str] = ("The", " sky", " is", " blue."),
    status: RunStatus = RunStatus.FINISHED,
    metrics: RunMetrics | None = None,
    error: str | None = None,
    group_id: str | None = None,
    cascade: CascadeReport | None = None,
    speculation: SpeculationReport | None = None,
    disturbance: Disturbance | None = None,
    cache: CacheReport | None = None,
    person_id: str | None = "tests",
    source: RunSource | None = RunSource.PLAYGROUND,
) -> str:
    """Store a run that is over, one token a word, and return its id."""
    run_id = store.create_run(
        request or make_request(),
        person_id=person_id,
        group_id=group_id,
        source=source,
        environment={"device": "cpu"},
    )
    if metrics is None and error is None:
        metrics = make_metrics(completion_tokens=len(words))
    first_s, each_s = (metrics.ttft_s or 0.0, metrics.tpot_s or 0.0) if metrics else (0.1, 0.01)
    tokens = [TokenEvent(100 + n, word, first_s + each_s * n, -0.25, 1.0) for n, word in enumerate(words)]
    store.finish_run(
        run_id,
        RunOutcome(
            status,
            "".join(words),
            finish_reason="stop" if status is RunStatus.FINISHED else None,
            error=error,
            metrics=metrics,
            cascade=cascade,
            speculation=speculation,
            disturbance=disturbance,
            cache=cache,
        ),
        Timeline.from_events(tokens) if tokens else None,
    )
    return run_id


def texts(app: AppTest, *kinds: str) -> str:
    """All that elements of these kinds say, in one text to look into."""
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def settle(app: AppTest, jobs: Jobs) -> AppTest:
    """Wait until no job runs, and look again."""
    until = time.monotonic() + 30
    while any(thread.name.startswith("job ") for thread in threading.enumerate()):
        assert time.monotonic() < until, jobs
        time.sleep(0.02)
    app.run()
    assert not app.exception
    return app
