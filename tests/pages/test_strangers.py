"""The pages as somebody sees them from whom others' texts are hidden."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from app import resources
from app.doors import person
from app.doors.hosts import AllowedHosts
from app.router.lab import RouterLab
from app.router.recorded.data_sets import RATED
from app.settings import Settings
from app.store import RunStore, Viewer
from tests.support.fakes import make_request
from tests.support.ui import add_run, open_app

ANN, BOB = "a" * 32, "b" * 32
SECRET = "xylophone"
"""Stands in all that Bob wrote, was answered, noted or named."""


@pytest.fixture
def bobs(store: RunStore) -> dict[str, str]:
    """What Bob has left on the desk."""
    mine = store.seen_by(Viewer(BOB, sees_all=False))
    run_id = add_run(store, make_request(f"{SECRET} prompt"), words=(SECRET, " answer"), person_id=BOB)
    store.set_note(run_id, f"{SECRET} note")
    store.set_tags(run_id, [f"{SECRET}-tag"])
    store.rate(run_id, 1)
    failed = add_run(store, make_request(f"{SECRET} 2"), words=(), error=f"{SECRET} error", person_id=BOB)
    chat = mine.chat.create(f"{SECRET} title", make_request().config.to_dict(), f"{SECRET} system")
    mine.chat.append(chat, None, "user", f"{SECRET} said")
    mine.router.keep_set("s" * 64, f"{SECRET}.jsonl", [])
    return {"run": run_id, "failed": failed, "chat": chat}


@pytest.fixture
def as_seen_by_ann(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> Callable[..., AppTest]:
    """Open a page as Ann, from whom others' texts are hidden unless she ``sees_all``."""

    def open_page(page: str, query: dict[str, str] | None = None, *, sees_all: bool = False) -> AppTest:
        monkeypatch.setattr(person, "known_person", lambda: ANN)
        seen = store.seen_by(Viewer(ANN, sees_all=sees_all))
        monkeypatch.setattr(resources, "get_router_lab", lambda: RouterLab(store, Path("nowhere")).seen_by(seen))
        return open_app(monkeypatch, seen, page, query)

    return open_page


def everything(app: AppTest) -> str:
    """All that the page sends to the browser, whatever the element."""
    # bytes, such as a table's, are written out as far as they are letters
    return "\n".join(str(getattr(node, "proto", "")) for node in app._tree)


PAGES: Sequence[tuple[str, dict[str, str]]] = [
    ("pages/runs.py", {}),
    ("pages/runs.py", {"run": "{run}"}),
    ("pages/compare.py", {}),
    ("pages/compare.py", {"compare": "{run},{failed}"}),
    ("pages/operations.py", {"figures": "Slowest"}),
    ("pages/chat.py", {}),
    ("pages/cache.py", {}),
    ("pages/router.py", {}),
    ("pages/router.py", {"step": "record"}),
    ("pages/quantization.py", {"measure": "On a corpus"}),
    ("pages/speculation.py", {}),
]


@pytest.mark.parametrize(("page", "query"), PAGES, ids=[f"{page} {query}" for page, query in PAGES])
def test_no_page_shows_a_text_of_somebody_else(
    as_seen_by_ann: Callable[..., AppTest], bobs: dict[str, str], page: str, query: dict[str, str]
) -> None:
    filled = {name: value.format(**bobs) for name, value in query.items()}
    assert SECRET not in everything(as_seen_by_ann(page, filled))


def test_a_permalink_of_somebody_elses_run_is_refused_in_words(
    as_seen_by_ann: Callable[..., AppTest], bobs: dict[str, str]
) -> None:
    app = as_seen_by_ann("pages/runs.py", {"run": bobs["run"]})
    assert [warning.value for warning in app.warning] == ["This run belongs to somebody else."]
    assert not app.text_area


def test_where_the_desk_is_shared_the_same_pages_show_them(
    as_seen_by_ann: Callable[..., AppTest], bobs: dict[str, str]
) -> None:
    for page, query in PAGES:
        if page in ("pages/runs.py", "pages/compare.py", "pages/operations.py", "pages/router.py"):
            filled = {name: value.format(**bobs) for name, value in query.items()}
            assert SECRET in everything(as_seen_by_ann(page, filled, sees_all=True)), page


def test_a_permalink_of_ones_own_run_and_of_the_desks_opens(
    as_seen_by_ann: Callable[..., AppTest], store: RunStore
) -> None:
    for owner in (ANN, None):
        run_id = add_run(store, make_request("my prompt"), person_id=owner)
        assert "my prompt" in everything(as_seen_by_ann("pages/runs.py", {"run": run_id}))


def test_operations_counts_everybodys_runs_and_lists_ones_own(
    as_seen_by_ann: Callable[..., AppTest], bobs: dict[str, str], store: RunStore
) -> None:
    add_run(store, make_request("my prompt"), person_id=ANN)
    app = as_seen_by_ann("pages/operations.py", {"figures": "Slowest"})
    assert next(metric.value for metric in app.metric if metric.label == "Runs") == "3"
    assert [list(frame.value["prompt"]) for frame in app.dataframe if "prompt" in frame.value] == [["my prompt"]]


def test_a_conversation_of_the_desk_says_that_everybody_can_read_it(
    as_seen_by_ann: Callable[..., AppTest], store: RunStore
) -> None:
    config = make_request().config.to_dict()
    store.chat.create("Old talk", config)
    store.seen_by(Viewer(ANN, sees_all=False)).chat.create("My talk", config)
    app = as_seen_by_ann("pages/chat.py")
    marks = {button.label: button.help for button in app.sidebar.button if "talk" in button.label}
    assert marks == {"Old talk": "Everybody can read this one, and go on with it.", "My talk": ""}


def test_what_others_rated_is_no_data_of_ones_own(bobs: dict[str, str], store: RunStore) -> None:
    lab = RouterLab(store, Path("nowhere"))
    ann, bob = (lab.seen_by(store.seen_by(Viewer(who, sees_all=False))) for who in (ANN, BOB))
    assert RATED not in ann.names()
    assert list(bob.names()) == ["s" * 64, RATED]
    assert SECRET in repr(bob.data_set(RATED))
    assert SECRET not in repr(ann.data_set(RATED))


@pytest.mark.parametrize(
    ("address", "hosts", "shared", "sees_all"),
    [
        ("127.0.0.1", "", False, True),
        ("localhost", "", False, True),
        ("::1", "", False, True),
        ("127.0.0.1", "gearbox.lan", False, False),
        ("0.0.0.0", "", False, False),
        ("192.168.1.5", "", False, False),
        (None, "", False, False),
        ("0.0.0.0", "gearbox.lan", True, True),
    ],
)
def test_others_texts_are_shown_where_nobody_comes_in_from_outside_or_the_administrator_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str | None, hosts: str, shared: bool, sees_all: bool
) -> None:
    settings = Settings(
        data_dir=tmp_path,
        database_url="sqlite:///x",
        models_dir=tmp_path,
        allowed_hosts=AllowedHosts.parse(hosts),
        shared_desk=shared,
    )
    monkeypatch.setattr(resources, "get_settings", lambda: settings)
    monkeypatch.setattr(config, "get_option", {"server.address": address}.__getitem__)
    assert resources.viewer() is None  # nobody looks: a thread of the application's own
    monkeypatch.setattr(resources, "get_script_run_ctx", lambda **_: object())
    monkeypatch.setattr(resources, "person_id", lambda: ANN)
    assert resources.viewer() == Viewer(ANN, sees_all=sees_all)


def test_no_page_and_no_view_asks_for_the_store_that_hides_nothing() -> None:
    root = Path(resources.__file__).parents[1]
    files = [*root.glob("pages/*.py"), *root.glob("app/views/**/*.py"), *root.glob("app/session/*.py")]
    assert len(files) > 50
    asking = re.compile(r"get_whole_store|_whole_router_lab|RunStore\.open|seen_by\(None")
    assert [file.name for file in files if asking.search(file.read_text(encoding="utf-8"))] == []
