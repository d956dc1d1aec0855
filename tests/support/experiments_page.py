"""The Experiments page as its tests open it, and experiments to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

import engine as engine_package
from app import resources
from app.background.jobs import Jobs
from app.store import ExperimentState, RunStore
from tests.support.experiments import answered, design, keep, sums
from tests.support.fakes import FakeEngine
from tests.support.ui import open_app, texts

PAGE = "pages/experiments.py"
N = 40
RIGHT = [1.0] * N


def install(monkeypatch: pytest.MonkeyPatch, jobs: Jobs) -> None:
    """Let there be one model, and jobs of this test's own."""
    models = [
        SimpleNamespace(name="smollm2-135m", title="S", in_catalog=True, installed=True, problem=None, parameters=1)
    ]
    monkeypatch.setattr(engine_package, "list_models", lambda _: models)
    monkeypatch.setattr(resources, "get_jobs", lambda: jobs)


def opened(monkeypatch: pytest.MonkeyPatch, store: RunStore, id: str, show: str = "", **more: str) -> AppTest:
    query = {"experiment": id, **({"show": show} if show else {}), **more}
    return open_app(monkeypatch, store, PAGE, query, engine=FakeEngine())


def held(
    store: RunStore,
    scores: Sequence[float],
    e2e_s: float = 0.5,
    *,
    name: str = "Ship it",
    categories: Sequence[str] = ("Easy", "Hard"),
    state: ExperimentState = ExperimentState.DONE,
) -> str:
    """An experiment whose baseline is all right and takes a second."""
    tasks = sums(len(scores), categories)
    made = replace(design(tasks, name=name), question=f"{name}?", prompts_from="own.csv", margin_points=10.0)
    id = keep(store, made, *answered(0, tasks, RIGHT[: len(scores)]), *answered(1, tasks, scores, e2e_s))
    store.experiments.set_state(id, state)
    return id


def words(app: AppTest) -> str:
    return texts(app, "title", "subheader", "markdown", "caption", "text", "info", "success", "error", "warning")


def charts(app: AppTest) -> list[str]:
    return [chart.proto.alt for chart in app.get("plotly_chart")]
