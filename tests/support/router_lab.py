"""What tests of the Router lab's page share: its name, a data set of two prompts, what one does on every step."""

from __future__ import annotations

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from app.background.jobs import Jobs
from app.quantization.tasks import tasks_sha256
from app.store import RunStore
from engine.evaluation.tasks import Task
from tests.support.cascade import STRONG, WEAK
from tests.support.fakes import FakeLabEngine
from tests.support.ui import settle, texts

PAGE = "pages/router.py"
WEIGHTS = {WEAK: "a" * 64, STRONG: "b" * 64}
TASKS = (
    Task(id="sky", category="Facts", prompt="Why is it blue?", checker="contains", expected="sky", max_tokens=8),
    Task(id="moon", category="Facts", prompt="What is it?", checker="contains", expected="moon", max_tokens=8),
)
HERE = {"small": FakeLabEngine.WEIGHTS, "large": FakeLabEngine.WEIGHTS}
Open = Callable[..., AppTest]
"""Opens the page on a step or section, with what is recorded and installed."""


def words(app: AppTest) -> str:
    return texts(app, "info", "warning", "error", "success", "caption", "markdown", "text", "subheader", "title")


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def open_own(open_lab: Open, store: RunStore, **options: object) -> AppTest:
    store.router.keep_set(tasks_sha256(TASKS), "Own prompts", TASKS)
    return open_lab("record", installed=HERE, **options)


def record(app: AppTest, jobs: Jobs) -> AppTest:
    app.multiselect(key="router-tiers").set_value(["small@int4", "large@int4"]).run()
    app.button(key="router-record").click().run()
    return settle(app, jobs)
