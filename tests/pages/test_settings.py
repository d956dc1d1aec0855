"""The Settings page, opened through the entry: the API's address, and keys from their making to their end."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from app import resources
from app.doors.keys import KeyLimits
from app.secrets import new_key
from app.settings import Settings
from app.store import RunStore, StoreError
from app.store.keys.repository import KeyStore
from app.views.settings.keys import confirm_revoke, make_key
from tests.support.ui import open_app, texts

PAGE = "pages/settings.py"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that the page is drawn in."""
    environ = {"GEARBOX_DATA_DIR": str(tmp_path_factory.mktemp("data"))}
    monkeypatch.setattr(resources, "get_settings", lambda: Settings.from_env(environ))
    return environ


@pytest.fixture
def beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that listens on every address."""
    option = config.get_option
    monkeypatch.setattr(config, "get_option", lambda key: "0.0.0.0" if key == "server.address" else option(key))


def codes(app: AppTest) -> list[str]:
    return [str(element.value) for element in app.code]


def badges(app: AppTest) -> str:
    return "\n".join(element.value for element in app.markdown if "-badge[" in element.value)


def dialog(draw: Callable[[], None]) -> AppTest:
    """A page that shows a dialog each time it is drawn, as a browser draws an open dialog alone."""

    def script(draw):  # type: ignore[no-untyped-def]  # its text alone is run, without this file's names
        draw()

    app = AppTest.from_function(script, default_timeout=60, args=(draw,)).run()
    assert not app.exception
    return app


def test_on_this_machine_the_api_is_on_and_its_example_needs_no_key(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, settings: dict[str, str]
) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "On, for this machine" in badges(app)
    address, example = codes(app)
    assert re.fullmatch(r"https?://[^/]+/v1", address)
    assert f"curl {address}/chat/completions" in example
    assert "Authorization" not in example
    assert "No keys yet" in texts(app, "info")
    assert "Signing in" not in texts(app, "subheader")


def test_beyond_it_the_api_is_off_until_it_is_switched_on_and_its_example_has_a_key(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, settings: dict[str, str], beyond: None
) -> None:
    app = open_app(monkeypatch, store, PAGE)
    assert "Off" in badges(app)
    assert "Signing in" in texts(app, "subheader")
    settings["GEARBOX_API"] = "1"
    app.run()
    assert "On, with keys" in badges(app)
    assert "Bearer $GEARBOX_KEY" in codes(app)[1]


def test_a_key_is_made_with_the_limits_that_were_asked_for_and_its_secret_shown_once(store: RunStore) -> None:
    app = dialog(lambda: make_key(store.keys, "anna"))
    app.text_input(key="key-name").input("Anna's *notebook*")
    app.number_input(key="key-requests").set_value(7)
    app.number_input(key="key-queue").set_value(0)
    app.button(key="create-key").click().run()
    (secret,) = codes(app)
    (key,) = store.keys.list()
    assert (key.limits, key.created_by) == (KeyLimits(requests_per_minute=7, queue=0), "anna")
    found = store.keys.check(secret)
    assert found is not None
    assert found.id == key.id
    assert "Anna's \\*notebook\\*" in texts(app, "markdown")
    assert not app.text_input
    assert secret not in str(app.session_state)
    app.run()
    assert codes(app) == []


def test_a_key_without_a_name_is_refused_in_the_dialog(store: RunStore) -> None:
    app = dialog(lambda: make_key(store.keys, "anna"))
    app.button(key="create-key").click().run()
    assert "Give the key a name" in texts(app, "error")
    assert store.keys.list() == ()


def test_the_page_lists_keys_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, settings: dict[str, str]
) -> None:
    key, secret = store.keys.create("Anna's *notebook*", KeyLimits(tokens_per_minute=9_000))
    app = open_app(monkeypatch, store, PAGE)
    shown = texts(app, "markdown")
    for words in ("**Anna's \\*notebook\\***", f"`{key.prefix}…`", "9,000", "Never"):
        assert words in shown
    assert secret[12:] not in str(app)
    app.button(key="new-key").click().run()
    assert app.text_input(key="key-name").value == ""


def test_a_key_is_revoked_after_a_question(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, settings: dict[str, str]
) -> None:
    key, secret = store.keys.create("notebook", KeyLimits())
    app = open_app(monkeypatch, store, PAGE)
    app.button(key=f"revoke-{key.prefix}").click().run()
    assert "cannot be undone" in texts(app, "markdown")
    assert store.keys.check(secret)
    app.button(key="confirm-revoke").click().run()
    assert not app.exception
    assert store.keys.check(secret) is None
    assert [button.key for button in app.button if button.key and button.key.startswith("revoke-")] == []
    assert "1 key revoked" in [expander.label for expander in app.expander]


def test_a_key_that_cannot_be_revoked_stays_and_the_dialog_says_why(
    monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    key, secret = store.keys.create("notebook", KeyLimits())

    def fail(self: KeyStore, prefix: str) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(KeyStore, "revoke", fail)
    app = dialog(lambda: confirm_revoke(store.keys, key))
    app.button(key="confirm-revoke").click().run()
    assert "The disk is full" in texts(app, "error")
    assert store.keys.check(secret)


def test_the_page_says_whether_secrets_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, settings: dict[str, str]
) -> None:
    assert "there is no GEARBOX_SECRET_KEY" in texts(open_app(monkeypatch, store, PAGE), "markdown")
    keys = [new_key(), new_key()]
    settings["GEARBOX_SECRET_KEY"] = ",".join(keys)
    app = open_app(monkeypatch, store, PAGE)
    assert "Secrets are kept encrypted" in texts(app, "markdown")
    assert "1 older key" in texts(app, "caption")
    assert not any(key in str(app) for key in keys)
