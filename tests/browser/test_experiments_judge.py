"""A judge set to work on a small experiment, as a person does it: scores, and its audit beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from app.experiments.planning.design import Design, NamedConfiguration
from app.experiments.running.job import run_experiment
from app.experiments.running.starting import keep_design
from app.store import JudgementKind, Pass, RunStore
from app.views.runs.naming import EXPERIMENTS_PATH
from engine import Engine, Task
from engine.types import OptimizationConfig, Precision, RunConfig
from tests.conftest import SMALL
from tests.support.browsing import settle
from tests.support.experiments import Told
from tests.support.server import Server

pytestmark = pytest.mark.browser

JUDGED_MS = 240_000
QUESTIONS = ("Name a colour.", "Say hello.", "Name an animal.", "What is bread?")


@pytest.fixture
def experiment(engine: Engine, store: RunStore) -> Iterator[str]:
    """Four prompts that no checker scores, answered in two precisions. Other tests of the server find it gone."""
    tasks = tuple(Task(id=f"p{n}", category="Chat", prompt=text, max_tokens=8) for n, text in enumerate(QUESTIONS))
    configurations = tuple(
        NamedConfiguration(str(each), RunConfig(model=SMALL, optimization=OptimizationConfig.at(each)))
        for each in (Precision.INT8, Precision.INT4)
    )
    made = Design(name="Open", prompts=tasks, configurations=configurations, passes=(Pass.QUALITY,))
    id = keep_design(store, made)
    run_experiment(engine, store, id, Told())
    yield id
    store.experiments.delete(id)


@pytest.mark.slow
def test_a_judge_grades_answers_and_its_audit_stands_beside(
    server: Server, store: RunStore, experiment: str, new_page: Callable[[], Page]
) -> None:
    page = new_page()
    page.goto(f"{server.url}/{EXPERIMENTS_PATH}?experiment={experiment}&show=Judge")
    settle(page)
    page.get_by_role("spinbutton", name="Judgements at most").fill("3")
    page.get_by_role("spinbutton", name="Judgements at most").press("Enter")
    settle(page)
    expect(page.get_by_text(re.compile(r"3 questions of \d+ that are left"))).to_be_visible()
    page.get_by_role("button", name="Judge", exact=True).click()
    expect(page.get_by_text("Its audit")).to_be_visible(timeout=JUDGED_MS)
    expect(page.get_by_text(re.compile(r"Cost: 3 questions"))).to_be_visible(timeout=JUDGED_MS)
    settle(page)
    expect(page.get_by_text("What it says")).to_be_visible()
    said = store.experiments.judgements(experiment)
    assert len(said) == 3
    assert {each.key.kind for each in said} <= set(JudgementKind)
    assert all(each.score is not None or each.no_verdict for each in said)

    page.get_by_role("button", name="Limits").click()
    page.get_by_role("spinbutton", name="Agreement, κ at least").fill("0.90")
    page.get_by_role("spinbutton", name="Agreement, κ at least").press("Tab")
    page.get_by_role("button", name="Keep", exact=True).click()
    settle(page)
    other = new_page()
    other.goto(f"{server.url}/{EXPERIMENTS_PATH}?experiment={experiment}&show=Judge")
    settle(other)
    other.get_by_role("button", name="Limits").click()
    expect(other.get_by_role("spinbutton", name="Agreement, κ at least")).to_have_value("0.90")
