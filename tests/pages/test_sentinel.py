"""The Sentinel page: one glance, both texts, and what to do about it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from app.store import RunStore
from tests.support.golden import Golden, Versions
from tests.support.ui import open_app

PAGE = "pages/sentinel.py"
SKY = "Why is the sky blue?"


@pytest.fixture
def golden(store: RunStore) -> Golden:
    return Golden(store, Versions())


def test_without_golden_prompts_it_says_how_to_pick_one(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "No golden prompts yet" in app.info[0].value


def test_a_run_is_picked_with_one_click(monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    id = golden.pick()
    run_id = golden.store.sentinel.get(id).run_id
    golden.store.sentinel.delete(id)
    app = open_app(monkeypatch, golden.store, "pages/runs.py")
    app.query_params["run"] = run_id
    app.run()
    app.button(key=f"golden-{run_id}").click().run()
    assert not app.exception
    assert [each.run_id for each in golden.store.sentinel.all()] == [run_id]


def test_a_flip_shows_both_texts_and_is_accepted(monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    id = golden.pick()
    golden.engine.answers[SKY] = ("It", " is", " *painted*", ".")
    answer = golden.replay()[id]
    app = open_app(monkeypatch, golden.store, PAGE)
    assert "1 flipped" in app.error[0].value
    shown = "\n".join(each.value for each in app.markdown)
    assert "Other tokens from number 5 on, of 6" in shown
    app.button(key=f"accept-{answer.id}").click().run()
    assert "All is as accepted" in app.success[0].value
    assert golden.store.sentinel.baselines()[id].id == answer.id


def test_what_is_known_is_said_and_is_no_alarm(monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    id = golden.pick()
    golden.engine.answers[SKY] = ("No", ".")
    golden.store.sentinel.file(golden.replay()[id].id, "Fine.")
    app = open_app(monkeypatch, golden.store, PAGE)
    assert not app.error
    assert "1 of them differ" in app.success[0].value


def test_hostile_names_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    id = golden.pick("![x](http://evil) **bold** $a$")
    golden.engine.tokens = ("Other",)
    golden.replay()
    app: AppTest = open_app(monkeypatch, golden.store, PAGE)
    assert not app.exception
    assert golden.store.sentinel.get(id).name.startswith("![x]")
    assert not any("![x]" in each.value for each in app.markdown)
