"""A rule on runs of a real model whose prefix cache stops being of use, as where every caller has their own salt."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.operations.alerts.rules import SHIPPED
from app.operations.alerts.watch import observe_all
from app.runs.service import stream
from app.store import Gear, RunSource, RunStore
from app.store.runs import writing
from engine import Engine
from engine.types import CacheMode, GenerationRequest, OptimizationConfig, Precision, SamplingParams
from tests.support.fakes import make_request
from tests.support.past_traffic import NOW

HOUR = timedelta(hours=1)
RUNS = 8
SYSTEM = "You answer in one word, and never in two. You are kind, and you know the sea."


def ask(number: int, salt: str) -> GenerationRequest:
    """One of the callers' questions, all of which begin alike."""
    request = make_request(f"Word {number}?", system=SYSTEM, sampling=SamplingParams(max_tokens=2, temperature=0.0))
    optimization = OptimizationConfig.at(Precision.BF16, CacheMode.PREFIX)
    return replace(request, config=replace(request.config, optimization=optimization), cache_salt=salt)


@pytest.mark.parametrize("fault", [True, False], ids=["a salt for each", "one salt"])
def test_the_hit_rate_of_real_runs_falls_and_the_alert_names_the_cache(
    engine: Engine, store: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: bool
) -> None:
    rule = next(rule for rule in SHIPPED if rule.key == "hit-rate")
    store.alerts.keep_rule(replace(rule, least=RUNS))
    for first in (NOW - 3 * HOUR, NOW - HOUR / 2):
        each_alone = fault and first > NOW - HOUR
        for number in range(RUNS):
            monkeypatch.setattr(writing, "now", lambda at=first + timedelta(minutes=number): at)
            request = ask(number, f"alerts {fault} {number if each_alone else ''}")
            with closing(stream(engine, store, request, person_id=None, source=RunSource.API)) as events:
                for _ in events:
                    pass
    monkeypatch.undo()
    observe_all(store, tmp_path, NOW)
    alerts = store.alerts.open()
    assert [(alert.rule, alert.gear) for alert in alerts] == ([("hit-rate", Gear.KV_CACHE)] if fault else [])
    if fault:
        its = store.page(alerts[0].runs)
        assert its.total == RUNS
        assert all(run.metrics is not None and run.metrics.cached_tokens == 0 for run in its.rows)
