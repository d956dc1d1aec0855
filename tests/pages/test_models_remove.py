"""Removing a model on the Models page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from app.models.removing import removal_key
from tests.support.fakes import make_request
from tests.support.models_page import models_page, texts
from tests.support.tiny import make_tiny_checkpoint
from tests.support.ui import add_run


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    make_tiny_checkpoint(tmp_path / "data" / "models" / "mine", "qwen2")
    with models_page(monkeypatch, tmp_path / "data") as page:
        yield page


def test_what_goes_and_what_stays_is_said_before(page: AppTest) -> None:
    store = resources.get_whole_store()
    add_run(store, make_request(model="mine"))
    store.configurations.save(None, "fast *one*", make_request(model="mine").config.to_dict(), warm=False)
    page.button("remove-mine").click().run()
    assert not page.exception
    shown = texts(page)
    assert "This frees **" in shown
    assert "- 1 run" in shown
    assert "1 saved configuration: “fast \\*one\\*”" in shown
    page.button("remove-confirm").click().run()
    until = time.monotonic() + 30
    while (state := resources.get_jobs().state(removal_key("mine"))) is None or state.running:
        assert time.monotonic() < until
        time.sleep(0.02)
    page.run()
    assert not page.exception
    assert not page.error
    assert "remove-mine" not in {button.key for button in page.button}
    assert not (resources.get_settings().models_dir / "mine").exists()
    assert store.totals().runs == 1


def test_a_model_that_answers_is_not_removed(page: AppTest) -> None:
    resources.get_whole_store().create_run(make_request(model="mine"), person_id=None, environment={})
    page.button("remove-mine").click().run()
    confirm = page.button("remove-confirm")
    assert confirm.disabled
    assert "answering now" in confirm.help
