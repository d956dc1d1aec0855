"""Recorded and live answers in the Router lab: read, marked, judged by a model."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from app.background.jobs import Jobs
from app.quantization.tasks import tasks_sha256
from app.store import RunStore
from engine import JUDGED
from engine.evaluation.tasks import Task
from engine.types import GenerationRequest
from tests.app.router.operation.test_watch import add as add_live_run
from tests.app.router.operation.test_watch import profile as live_profile
from tests.support.cascade import answer, recorded
from tests.support.fakes import FakeLabEngine
from tests.support.router_lab import HERE, Open, metrics, open_own, record, words
from tests.support.ui import settle


def select_row(app: AppTest, key: str, row: int) -> AppTest:
    """What a click leaves; the testing framework has no way to click."""
    app.session_state[key] = {"selection": {"rows": [], "columns": [], "cells": [(row, "Prompt")]}}
    return app.run()


def test_an_answer_is_read_where_it_is_marked_wrong_and_marked_right(
    open_lab: Open, store: RunStore, jobs: Jobs
) -> None:
    app = record(open_own(open_lab, store), jobs)
    app.toggle(key="router-read").set_value(True).run()
    app = select_row(app, "router-recorded", 1)
    assert "What is it?" in words(app)
    assert "The sky scatters blue light." in words(app)
    assert "Expected: “moon” in it" in words(app)
    assert "It does not say “moon” as words of their own." in words(app)
    app.button(key="router-recorded-Mark as right-moon-small@int4").click().run()
    assert not app.exception
    assert app.dataframe[0].value.set_index("Tier").loc["small@int4", "Mean score"] == "100 %"
    app = select_row(app, "router-recorded", 1)
    assert "Marked by you, " in words(app)
    assert "Without the mark: ✗ wrong." in words(app)
    app.button(key="router-recorded-Take the mark back-moon-small@int4").click().run()
    assert app.dataframe[0].value.set_index("Tier").loc["small@int4", "Mean score"] == "50 %"


OPEN_TASKS = (
    Task(id="why", category="Open", prompt="Why is it blue?", checker=JUDGED, expected="Rayleigh", max_tokens=8),
)


class JudgingEngine(FakeLabEngine):
    """Whoever is asked for one word says "No"."""

    def says(self, request: GenerationRequest) -> list[str]:
        return ["No"] if "one word" in request.messages[-1].content else ["Because", "."]


def test_answers_are_judged_by_a_model_that_is_named_with_its_reason_and_marked_right(
    open_lab: Open, store: RunStore, jobs: Jobs
) -> None:
    store.router.keep_set(tasks_sha256(OPEN_TASKS), "Own prompts", OPEN_TASKS)
    app = open_lab("record", installed=HERE, scripted=JudgingEngine())
    app.multiselect(key="router-tiers").set_value(["small@int4", "large@int4"]).run()
    assert "Answers are judged by large int4, the largest model installed" in words(app)
    assert "large int4 is one of the tiers: a model that judges its own answers flatters itself." in words(app)
    app.button(key="router-record").click().run()
    app = settle(app, jobs)
    assert app.button(key="router-record").label == "Record again"
    assert list(app.dataframe[0].value["Mean score"]) == ["0 %", "0 %"]
    assert "2 answers judged by a model." in words(app)
    app.toggle(key="router-read").set_value(True).run()
    app = select_row(app, "router-recorded", 0)
    assert "judged by a model" in words(app)
    assert "Expected: what agrees with “Rayleigh”" in words(app)
    assert "Judged wrong by large int4, 61 % sure." in words(app)
    assert "Judged wrong by large int4, which wrote it, 61 % sure." in words(app)
    app.button(key="router-recorded-Mark as right-why-small@int4").click().run()
    app = select_row(app, "router-recorded", 0)
    assert "Marked by you, " in words(app)
    assert "Judged wrong by large int4, 61 % sure." in words(app)


def test_recorded_answers_without_a_verdict_are_offered_to_the_judge(
    open_lab: Open, store: RunStore, jobs: Jobs
) -> None:
    identity = tasks_sha256(OPEN_TASKS)
    store.router.keep_set(identity, "Own prompts", OPEN_TASKS)
    store.router.keep_answer(identity, "why", "small@int4", HERE["small"], answer(None, text="x"), {})
    app = open_lab("record", installed=HERE, scripted=JudgingEngine())
    app.multiselect(key="router-tiers").set_value(["small@int4"]).run()
    assert app.button(key="router-record").label == "Judge 1 answer"
    assert "1 answer to judge" in words(app)
    assert "flatters itself" not in words(app)
    app.button(key="router-record").click().run()
    app = settle(app, jobs)
    assert app.button(key="router-record").label == "Record again"
    assert store.router.judged_until(identity)[0] == 1


def test_the_latest_live_answers_are_judged_on_request(open_lab: Open, store: RunStore, jobs: Jobs) -> None:
    made = live_profile()
    store.router.activate(store.router.keep_profile(made))
    for _ in range(12):
        add_live_run(store, made)
    app = open_lab("watch", recorded(40), installed=HERE, scripted=JudgingEngine())
    assert metrics(app)["Judged right"] == "–"
    button = app.button(key="router-judge")
    assert button.label == "Judge 10 of the latest"
    button.click().run()
    app = settle(app, jobs)
    assert metrics(app)["Judged right"] == "0 %"
    assert "The judge is large int4, the largest model installed." in words(app)
    judged = next(metric for metric in app.metric if metric.label == "Judged right")
    assert "Small models judge not much better than chance" in judged.help
    assert metrics(app)["Right answers"] == "–"
    assert app.button(key="router-judge").label == "Judge 2 of the latest"
    app.button(key="router-judge").click().run()
    app = settle(app, jobs)
    assert app.button(key="router-judge").disabled
    assert "✗ judged wrong" not in words(app)
