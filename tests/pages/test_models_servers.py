"""Servers on the Models page: added, tested, changed and removed, and what is said of their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from app.background.jobs import Jobs
from app.models.remote.offered import Offers
from app.models.remote.registry import RemoteModels
from app.remote.prices import ListPrice
from app.secrets import NO_SECRETS
from app.store import NewRemote, RunStore
from tests.support.scripted_server import Reply, ScriptedServer
from tests.support.ui import open_app, settle, texts

PAGE, KEY = "pages/models.py", "sk-of-a-test"
FIELD = "server-new-0-"
HOSTILE = "<b>m</b> :smile: *x*"
Open = Callable[[], AppTest]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs) -> Open:
    """The page on a store of its own, without a secret key."""
    remotes, offers = RemoteModels(lambda: store.remotes, NO_SECRETS, {}), Offers(jobs)
    monkeypatch.setattr(resources, "get_remote_models", lambda: remotes)
    monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
    monkeypatch.setattr(resources, "get_offers", lambda: offers)
    return lambda: open_app(monkeypatch, store, PAGE)


def removing() -> None:
    from app import resources
    from app.views.models.servers.change import confirm_removal

    for each in resources.get_remote_models().all():
        confirm_removal(resources.get_remote_models(), each)


def changing() -> None:
    from app import resources
    from app.views.models.servers.change import change_server

    (only,) = resources.get_remote_models().all()
    change_server(resources.get_remote_models(), only, "$")


def said(app: AppTest) -> str:
    return texts(app, "markdown", "caption", "subheader", "badge", "info", "error")


def test_a_server_is_looked_at_added_and_tested(
    open_page: Open, server: ScriptedServer, store: RunStore, jobs: Jobs
) -> None:
    server.models = {"data": [{"id": HOSTILE}, {"id": "other"}]}
    app = open_page()
    assert "None yet" in said(app)
    app.text_input(f"{FIELD}url").set_value(server.url)
    app.text_input(f"{FIELD}key").set_value(KEY).run()
    assert "stays in Gearbox's memory" in said(app)
    app.button("server-new-look").click().run()
    settle(app, jobs)
    assert app.selectbox(f"{FIELD}model").options == [HOSTILE, "other"]
    app.selectbox(f"{FIELD}model").set_value(HOSTILE)
    app.number_input(f"{FIELD}input").set_value(1.0)
    app.number_input(f"{FIELD}output").set_value(4.0)
    app.text_input(f"{FIELD}name").set_value("Office").run()
    app.button("server-new-add").click().run()
    assert not app.exception
    assert not app.error
    (kept,) = store.remotes.all()
    assert (kept.name, kept.served_name, kept.price) == ("@office", HOSTILE, ListPrice(1.0, 4.0))
    assert kept.sealed_key is None
    assert "in Gearbox's memory" in said(app)
    assert "Not tested" in said(app)
    app.button(f"server-test-{kept.id}").click().run()
    settle(app, jobs)
    assert not app.error
    assert "Works" in said(app)
    assert ":green[:material/check: Streams]" in said(app)
    assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
    assert HOSTILE not in said(app)
    assert KEY not in said(app)
    assert not any(each.value == KEY for each in app.text_input)


def test_what_does_not_work_is_told(open_page: Open, server: ScriptedServer, store: RunStore, jobs: Jobs) -> None:
    kept = store.remotes.add(NewRemote(name="@office", url=f"{server.url}/v1", served_name="m"))
    server.script = lambda _: Reply(status=500, error={"error": {"message": "Out of <b>memory</b>"}})
    app = open_page()
    app.button(f"server-test-{kept.id}").click().run()
    settle(app, jobs)
    assert "Does not work" in said(app)
    assert "Streams: not known" in said(app)
    assert "<b>memory" not in said(app).replace("\\<", "")


def test_what_cannot_be_is_said_and_nothing_is_added(open_page: Open, store: RunStore) -> None:
    app = open_page()
    app.text_input(f"{FIELD}url").set_value(f"http://me:{KEY}@office.lan").run()
    assert "The address holds a password" in app.error[0].value
    assert KEY not in said(app)
    assert app.button("server-new-add").disabled
    app.text_input(f"{FIELD}url").set_value("http://office.lan")
    app.text_input(f"{FIELD}key").set_value(KEY).run()
    assert "sent unencrypted" in said(app)
    app.button("server-new-add").click().run()
    assert "model" in app.error[0].value
    assert store.remotes.all() == ()


def test_what_one_address_said_does_not_stand_under_another(
    open_page: Open, server: ScriptedServer, jobs: Jobs
) -> None:
    server.models_status = 500
    app = open_page()
    app.text_input(f"{FIELD}url").set_value(server.url).run()
    app.button("server-new-look").click().run()
    settle(app, jobs)
    assert "lists no models" in app.error[0].value
    app.text_input(f"{FIELD}url").set_value("http://office.lan").run()
    assert not app.error


def test_one_is_removed_after_a_question(open_page: Open, store: RunStore) -> None:
    kept = store.remotes.add(NewRemote(name="@office", url="http://h/v1", served_name="m"))
    app = open_page()
    app.button(f"server-remove-{kept.id}").click().run()
    assert "forgotten" in said(app)
    assert store.remotes.all() == (kept,)
    dialog = AppTest.from_function(removing, default_timeout=30).run()
    dialog.button("confirm-remove-server").click().run()
    assert not dialog.exception
    assert store.remotes.all() == ()


def test_a_key_stays_with_its_server_when_something_else_is_changed(open_page: Open, store: RunStore) -> None:
    open_page()
    remotes = resources.get_remote_models()
    begins = f"server-edit-{remotes.add(name='office', url='https://h', served_name='m', key=KEY).id}-"
    dialog = AppTest.from_function(changing, default_timeout=30).run()
    assert dialog.text_input(f"{begins}key").value == ""
    dialog.text_input(f"{begins}url").set_value("https://evil.example")
    dialog.button(f"{begins}save").click().run()
    assert "given for another server" in dialog.error[0].value
    dialog.text_input(f"{begins}url").set_value("https://h/v2")
    dialog.button(f"{begins}save").click().run()
    assert not dialog.error
    assert (moved := remotes.resolve("@office")) is not None
    assert (moved.url, moved.key) == ("https://h/v2", KEY)


def test_who_may_not_administer_sees_them_and_changes_nothing(
    open_page: Open, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.remotes.add(NewRemote(name="@office", url="http://h/v1", served_name="m"))
    monkeypatch.setattr(RunStore, "may_administer", False)
    app = open_page()
    assert "@office" in said(app)
    assert "Only the machine's own desk may change servers" in said(app)
    assert not [each for each in app.button if str(each.key).startswith("server-")]
