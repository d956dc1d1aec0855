"""What the sidebar says of a run database in trouble, on every page."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.store import RunStore, StoreError
from app.store.database import session as session_module
from app.store.database.session import Database
from app.store.outbox import keeper as keeper_module
from tests.app.store.test_files import create, finish
from tests.support.ui import open_app, texts

BUTTON = "open-what-is-there"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "FIRST_RETRY_S", 3_600.0)
    monkeypatch.setattr(session_module, "RESULT_BUSY_TIMEOUT_MS", 20)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def sidebar(app: AppTest) -> str:
    alerts = [*app.sidebar.warning, *app.sidebar.error]
    return "\n".join(f"{alert.proto.title} {alert.value}" for alert in alerts)


def test_nothing_is_said_where_all_is_well(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    finish(store, create(store))
    assert sidebar(open_app(monkeypatch, store, "pages/runs.py")) == ""


@pytest.mark.parametrize("page", ["pages/runs.py", "pages/models.py"])
def test_what_waits_is_told_on_every_page_with_why_and_where(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path, page: str
) -> None:
    runs = [create(store) for _ in range(2)]
    with locked(file):
        for run_id in runs:
            finish(store, run_id)
        said = sidebar(open_app(monkeypatch, store, page))
    assert "2 results wait to be written" in said
    assert "locked by another process" in said
    assert f"{file}.waiting-" in said


def test_a_run_that_waits_is_opened_as_it_ended(monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path) -> None:
    run_id = create(store)
    with locked(file):
        finish(store, run_id)
        app = open_app(monkeypatch, store, "pages/runs.py", {"run": run_id})
        assert "all of it" in texts(app, "code")
        assert "1 result waits to be written" in sidebar(app)


def test_a_deleted_database_is_told_and_begun_anew_by_a_click(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path
) -> None:
    run_id = create(store)
    file.unlink()
    finish(store, run_id)
    app = open_app(monkeypatch, store, "pages/runs.py")
    assert "deleted or moved away" in sidebar(app)
    assert "1 result waits to be written" in sidebar(app)
    app.button(key=BUTTON).click().run()
    assert not app.exception
    assert sidebar(app) == ""
    assert store.page().total == 1


def test_a_file_that_is_no_database_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path
) -> None:
    other = file.with_name("other")
    other.write_text("A text. " * 1_000)
    other.replace(file)
    app = open_app(monkeypatch, store, "pages/runs.py")
    assert "replaced by another file" in sidebar(app)
    app.button(key=BUTTON).click().run()
    assert "is not a run database" in sidebar(app)
    assert file.read_text().startswith("A text.")


def test_what_an_earlier_server_left_and_a_full_disk_does_not_take_is_told_and_the_pages_open(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path
) -> None:
    run_id = create(store)
    with locked(file):
        finish(store, run_id)
        store.close()
        again = RunStore(Database(f"sqlite:///{file}", watched=True))
        with pytest.raises(StoreError):
            again.look_around()
        said = sidebar(open_app(monkeypatch, again, "pages/runs.py"))
    assert "Results of an earlier server wait to be written" in said
    assert f"{file}.waiting-" in said
    again.look_around()
    assert sidebar(open_app(monkeypatch, again, "pages/runs.py")) == ""
    again.close()


def test_results_that_could_never_be_stored_are_named_with_their_file(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path
) -> None:
    Path(f"{file}.waiting-x.jsonl").write_text('{"kind": "unknown", "id": "1", "fields": {}}\n')
    store.look_around()
    said = sidebar(open_app(monkeypatch, store, "pages/runs.py"))
    assert "1 result could not be stored" in said
    assert f"{file}.refused.jsonl" in said
