"""Calls of every shape that the API's own description allows, and of shapes that it does not: none may crash it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from schemathesis.generation import GenerationMode

from app.api.answering import Answering
from app.api.routes import api
from app.store import RunStatus, RunStore
from engine import Engine
from tests.support.fakes import FakeEngine

SOME, MANY = 150, 1_000
"""Calls of each operation."""
WITH_A_BODY = (("/chat/completions", "POST"), ("/completions", "POST"))
OPERATIONS = {
    GenerationMode.POSITIVE: (*WITH_A_BODY, ("/models/{name}", "GET"), ("/embeddings", "POST")),
    GenerationMode.NEGATIVE: WITH_A_BODY,
}


@pytest.fixture(params=["scripted", "random weights"])
def app(request: pytest.FixtureRequest, tiny_models_dir: Path, store: RunStore) -> Iterator[FastAPI]:
    engine: Any = FakeEngine() if request.param == "scripted" else Engine(tiny_models_dir)
    answering = Answering(lambda: engine, lambda: store)
    yield api(tiny_models_dir, lambda: store, answering)
    answering.close()
    engine.close()


@pytest.mark.parametrize(
    "examples", [pytest.param(SOME, marks=pytest.mark.slow), pytest.param(MANY, marks=pytest.mark.full)]
)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_no_call_of_any_shape_is_a_server_error(
    app: FastAPI,
    store: RunStore,
    mode: GenerationMode,
    examples: int,
    record_property: Callable[[str, object], None],
) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    counts: dict[int, int] = {}

    def ask(case: Any) -> None:
        body = case.body
        if isinstance(body, dict) and mode is GenerationMode.POSITIVE:
            # what is valid but for the model gets to it; long answers would only take longer
            case.body = {**body, "model": "tiny", "max_tokens": 3, "n": 1}
            case.body.pop("max_completion_tokens", None)
        answer = case.call()
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, (case.method, case.path, body, answer.text)
        if answer.status_code >= 400:
            assert answer.json()["error"]["message"]

    for path, method in OPERATIONS[mode]:
        strategy = schema[path][method].as_strategy(generation_mode=mode)
        quiet = settings(
            max_examples=examples,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
            verbosity=Verbosity.quiet,
        )
        quiet(given(case=strategy)(ask))()
    record_property("calls by status", counts)
    assert RunStatus.RUNNING not in {run.status for run in store.page().rows}
