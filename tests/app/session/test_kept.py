"""What widgets are set to is there again for the same person, and for nobody else."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from streamlit.testing.v1 import AppTest

from app import resources
from app.doors import person
from app.session import kept
from app.session.configuration import DEFAULT_CONFIG, Form, config_of, values_of
from app.store import RunStore
from engine.errors import InvalidRequestError
from engine.types import Backend, Precision
from tests.support.fakes import FakeEngine
from tests.support.ui import ENTRY, add_run, open_app, replace_resources, texts
from tests.support.waiting import until

CACHE, SPECULATION = "pages/cache.py", "pages/speculation.py"
PROMPT, PRICE = "playground-prompt", "playground-price-per-hour"
GAMMA, PRECISION = "speculation-gamma", "speculation-precision"


@pytest.fixture(autouse=True)
def small_library(monkeypatch: pytest.MonkeyPatch, models_dir: Path) -> None:
    """The models of the tests are those that are installed."""
    settings = resources.get_settings()
    monkeypatch.setattr(resources, "get_settings", lambda: settings)


def open_as(who: str | None, monkeypatch: pytest.MonkeyPatch, store: RunStore, page: str = "") -> AppTest:
    """A new tab of somebody's browser; without a page it is drawn once, on the Playground."""
    monkeypatch.setattr(person, "known_person", lambda: who)
    monkeypatch.setattr("app.session.identity.known_person", lambda: who)
    if page:
        return open_app(monkeypatch, store, page)
    replace_resources(monkeypatch, store, FakeEngine())
    return AppTest.from_file(str(ENTRY), default_timeout=60).run()


def test_the_playground_opens_as_its_person_had_set_it(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    chosen = {PROMPT: "My own prompt", PRICE: 3, "lane-b-max-tokens": 17, "lane-b-backend": "reference"}
    store.people.keep_settings("a", chosen)
    app = open_as("a", monkeypatch, store)
    assert app.text_area(key=PROMPT).value == "My own prompt"
    assert app.number_input(key=PRICE).value == 3.0
    assert app.number_input(key="lane-b-max-tokens").value == 17
    assert app.segmented_control(key="lane-b-backend").value is Backend.REFERENCE
    assert not app.exception
    assert not texts(app, "warning")
    stranger = open_as("b", monkeypatch, store)
    assert stranger.text_area(key=PROMPT).value != "My own prompt"


def test_what_costs_are_reckoned_from_is_kept_where_it_can_be(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    add_run(store)
    store.people.keep_settings("a", {"costs-wage": 80, "costs-requests-per-day": 500, "costs-hours-a-day": 25.0})
    app = open_as("a", monkeypatch, store, "pages/costs.py")
    assert app.number_input(key="costs-wage").value == 80.0
    assert app.number_input(key="costs-requests-per-day").value == 500
    assert app.number_input(key="costs-hours-a-day").value == 24.0
    app.number_input(key="costs-wage").set_value(90.0).run()
    again = open_as("a", monkeypatch, store, "pages/costs.py")
    assert again.number_input(key="costs-wage").value == 90.0


def test_what_is_set_is_there_in_a_tab_opened_later(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_as("a", monkeypatch, store, SPECULATION)
    app.number_input(key=GAMMA).set_value(5)
    app.segmented_control(key=PRECISION).set_value(Precision.INT8).run()
    again = open_as("a", monkeypatch, store, SPECULATION)
    assert again.number_input(key=GAMMA).value == 5
    assert again.segmented_control(key=PRECISION).value is Precision.INT8
    store.people.keep_settings("a", {GAMMA: None})  # emptied
    assert open_as("a", monkeypatch, store, SPECULATION).number_input(key=GAMMA).value is None
    assert open_as("b", monkeypatch, store, SPECULATION).segmented_control(key=PRECISION).value is Precision.INT4


def test_nothing_is_written_where_nobody_chose_anything(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    written: list[str] = []

    def note(*arguments: Any) -> None:
        if "person_settings" in arguments[2] and not arguments[2].startswith("SELECT"):
            written.append(arguments[2])

    event.listen(store._database.engine, "before_cursor_execute", note)
    app = open_as("a", monkeypatch, store, SPECULATION)
    app.switch_page(CACHE).run()
    app.switch_page(SPECULATION).run()
    assert written == []
    app.number_input(key=GAMMA).set_value(5).run()
    assert len(written) == 1
    app.run()
    assert len(written) == 1


def test_the_last_tab_to_set_a_widget_decides_and_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    one, two = (open_as("a", monkeypatch, store, SPECULATION) for _ in range(2))
    one.number_input(key=GAMMA).set_value(1).run()
    two.segmented_control(key=PRECISION).set_value(Precision.INT8).run()
    two.number_input(key=GAMMA).set_value(2).run()
    one.run()
    three = open_as("a", monkeypatch, store, SPECULATION)
    assert three.number_input(key=GAMMA).value == 2
    assert three.segmented_control(key=PRECISION).value is Precision.INT8


def test_without_cookies_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_as(None, monkeypatch, store, SPECULATION)
    app.number_input(key=GAMMA).set_value(5).run()
    assert open_as(None, monkeypatch, store, SPECULATION).number_input(key=GAMMA).value is None


def test_a_pasted_log_and_what_it_came_to_are_there_again(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    app = open_as("a", monkeypatch, store, CACHE)
    app.segmented_control(key="cache-section").set_value("Simulator").run()
    app.text_area(key="cache-log").set_value('{"messages": [{"role": "user", "content": "Hi"}]}')
    app.number_input(key="cache-log-at-once").set_value(3)
    app.button(key="cache-simulate").click().run()
    app.run()
    again = open_as("a", monkeypatch, store, CACHE)
    again.segmented_control(key="cache-section").set_value("Simulator").run()
    assert "Hi" in (again.text_area(key="cache-log").value or "")
    assert again.number_input(key="cache-log-at-once").value == 3
    assert str(again.session_state["cache-simulation"]).startswith("cache simulation ")


def test_what_is_no_longer_valid_is_as_if_it_had_never_been_set(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    broken: dict[str, Any] = {
        PROMPT: 7,
        PRICE: -1,
        "lane-a-model": "a-model-that-is-gone",
        "lane-a-backend": "abacus",
        "lane-b-precision": "int3",
        "lane-b-temperature": 99,
        "lane-b-max-tokens": "many",
        "lane-b-stop": [""],
        "lane-b-drafter": "model a-model-that-is-gone",
        "lane-b-gamma": -4,
        "lane-b-kv-window": 1,
        "lane-b-cascade-profile": "{}",
        "lane-b-cascade-router": None,
        "lane-b-warm": "yes",
        "router-threshold a b c": 2,
        "somebody-elses-key": "x",
        "playground-race": "x",
    }
    store.people.keep_settings("a", broken)
    app = open_as("a", monkeypatch, store)
    plain = open_as(None, monkeypatch, store)
    for key in ("lane-a-model", "lane-a-backend", "lane-b-max-tokens", PROMPT, PRICE):
        assert app.session_state[key] == plain.session_state[key]
    assert "somebody-elses-key" not in app.session_state
    assert "playground-race" not in app.session_state


def test_a_text_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    for text in ("short", "x" * 200_000):
        app = open_as("a", monkeypatch, store, CACHE)
        app.segmented_control(key="cache-section").set_value("Simulator").run()
        app.text_area(key="cache-log").set_value(text)
        app.button(key="cache-simulate").click().run()
        key = app.session_state["cache-simulation"]
        until(lambda key=key: not resources.get_jobs().state(key).running)  # else it cannot be started again
    assert store.people.settings("a")["cache-log"] is None
    again = open_as("a", monkeypatch, store, CACHE)
    again.segmented_control(key="cache-section").set_value("Simulator").run()
    assert not again.text_area(key="cache-log").value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(setting=st.sampled_from(list(values_of(DEFAULT_CONFIG))), value=JSON)
def test_whatever_was_kept_a_form_makes_a_configuration_of_it_or_says_why_not(setting: str, value: Any) -> None:
    reader = kept._setting(Form("f", DEFAULT_CONFIG), setting, ["smollm2-135m"])
    read = None
    with suppress(ValueError):
        read = reader(value)
    if read is not None:
        for gears in ({}, {"kv-cache": True, "speculation": True, "cascade": True}):
            with suppress(InvalidRequestError):  # told where the lane is
                config_of({**values_of(DEFAULT_CONFIG), **gears, setting: read})


def test_every_setting_of_a_form_is_read_as_it_was_written() -> None:
    form = Form("f", DEFAULT_CONFIG)
    for setting, value in values_of(DEFAULT_CONFIG).items():
        read = kept._setting(form, setting, ["smollm2-135m"])(json.loads(json.dumps(value)))
        assert (read, type(read)) == (value, type(value))
    assert kept._setting(form, "precision", [])("nf4") is Precision.NF4
