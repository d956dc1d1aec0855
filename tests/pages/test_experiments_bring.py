"""Prompts brought on the Experiments page itself: previewed, kept, chosen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from app.background.jobs import Jobs
from app.session import experiments as session
from app.store import RunStore
from app.views.experiments.bring import bring_prompts
from tests.support.experiments_page import PAGE, install, words
from tests.support.ui import open_app

CAPITALS = b"question;answer\nCapital of France?;Paris\n;Rome\nCapital of Spain?;Madrid\n"
OPEN = b"question\nHow are you?\nWhat do you like?\n"


def dialog(draw: Callable[[], None]) -> AppTest:
    """A page that shows a dialog each time it is drawn, as a browser draws an open dialog alone."""

    def script(draw):  # type: ignore[no-untyped-def]  # its text alone is run, without this file's names
        draw()

    app = AppTest.from_function(script, default_timeout=60, args=(draw,)).run()
    assert not app.exception
    return app


def bring(store: RunStore, name: str, data: bytes) -> AppTest:
    app = dialog(lambda: bring_prompts(store))
    (uploader,) = app.get("file_uploader")
    uploader.set_value([(name, data, "text/csv")])
    app.run()
    assert not app.exception
    return app


def test_the_page_offers_it_where_prompts_are_chosen(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs
) -> None:
    install(monkeypatch, jobs)
    app = open_app(monkeypatch, store, PAGE)
    app.button(key="experiments-new-bring").click().run()
    assert not app.exception
    assert app.get("file_uploader")


def test_a_file_is_previewed_kept_and_chosen(monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs) -> None:
    app = bring(store, "capitals.csv", CAPITALS)
    shown = app.dataframe[-1].value
    assert list(shown["As it is asked"]) == ["Capital of France?", "Capital of Spain?"]
    assert list(shown["Right is"]) == ["“Paris” in it", "“Madrid” in it"]
    assert "Row 3 has no text in column “question”" in words(app)
    app.button(key="experiments-bring-keep").click().run()
    (kept,) = store.router.sets()
    assert (kept.name, app.session_state[f"{session.PROMPTS.key}-next"]) == ("capitals", "capitals")

    install(monkeypatch, jobs)
    page = open_app(monkeypatch, store, PAGE)
    page.session_state[f"{session.PROMPTS.key}-next"] = "capitals"
    page.run()
    assert page.selectbox(key=session.PROMPTS.key).value == "capitals"
    assert "prompt" in words(page)


def test_prompts_without_answers_are_held_against_the_baselines(store: RunStore) -> None:
    app = bring(store, "open.csv", OPEN)
    assert set(app.dataframe[-1].value["Right is"]) == {"likeness to the baseline's answer"}


def test_the_same_prompts_again_are_only_chosen(store: RunStore) -> None:
    bring(store, "capitals.csv", CAPITALS).button(key="experiments-bring-keep").click().run()
    app = bring(store, "again.csv", CAPITALS)
    assert "These prompts are here already, as “capitals”" in words(app)
    app.button(key="experiments-bring-open").click().run()
    assert app.session_state[f"{session.PROMPTS.key}-next"] == "capitals"
    assert len(store.router.sets()) == 1


def test_a_name_that_another_set_has_is_told_apart(store: RunStore) -> None:
    bring(store, "Rated runs.csv", CAPITALS).button(key="experiments-bring-keep").click().run()
    (kept,) = store.router.sets()
    assert kept.name == "Rated runs (2)"


def test_a_file_that_cannot_be_read_says_why(store: RunStore) -> None:
    app = bring(store, "own.csv", "prompt,answer\nGrüße,x\n".encode("latin-1"))
    assert "Save it as UTF-8" in app.error[0].value
    assert "experiments-bring-keep" not in {button.key for button in app.button}
