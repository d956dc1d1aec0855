"""``gearbox servers`` as it is given."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli import _load
from app.remote.prices import ListPrice
from tests.support.command import opened
from tests.support.scripted_server import Reply, ScriptedServer
from tests.support.stores import new_database

KEY = "sk-of-a-test"
Give = Callable[..., tuple[int, str, str]]


@pytest.fixture
def give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Give:
    """Give the command on a folder of its own."""

    def given(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gearbox", "servers", *arguments])
        return _load()(), *capsys.readouterr()

    monkeypatch.setenv("GEARBOX_DATA_DIR", str(tmp_path))
    for name in ("GEARBOX_DATABASE_URL", "GEARBOX_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    new_database(tmp_path / "gearbox.db")
    return given


def test_a_server_is_added_tested_listed_and_removed(
    give: Give, server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFICE_KEY", KEY)
    prices = ("--read-price", "1", "--written-price", "4")
    code, said, hint = give("add", server.url, "--name", "office", "--key-variable", "OFFICE_KEY", *prices)
    host = server.url.removeprefix("http://")
    assert (code, said) == (0, f"@office is m at {host}.\n")
    assert "OFFICE_KEY" in hint
    assert KEY not in said + hint
    assert "key in OFFICE_KEY  not tested" in give("list")[1]
    server.script = lambda _: Reply()
    code, said, _ = give("test", "office")
    assert code == 0
    assert "Streams                   yes" in said
    assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
    assert give("list")[1].rstrip().endswith("works")
    server.script = lambda _: Reply(status=500, error={"error": "Broken."})
    assert give("test", "@office")[0] == 1
    with opened(tmp_path) as store:
        (kept,) = store.remotes.all()
    assert kept.price == ListPrice(1.0, 4.0)
    assert give("remove", "office")[:2] == (0, "@office is removed.\n")
    assert give("list")[1] == ""


def test_of_several_models_one_has_to_be_named(give: Give, server: ScriptedServer) -> None:
    server.models = {"data": [{"id": "a"}, {"id": "b"}]}
    code, _, said = give("add", server.url, "--name", "office")
    assert (code, "--model: a, b." in said) == (2, True)
    assert give("add", server.url, "--name", "office", "--model", "b")[0] == 0
    code, _, said = give("add", server.url, "--name", "office", "--model", "a")
    assert (code, "called @office already" in said) == (1, True)


def test_a_variable_that_is_not_set_is_said_before_the_server_is_asked(
    give: Give, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OFFICE_KEY", raising=False)
    code, _, said = give("add", server.url, "--name", "office", "--key-variable", "OFFICE_KEY")
    assert (code, "OFFICE_KEY is not set" in said) == (2, True)
    assert server.headers == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "nowhere", "--name", "a", "--model", "m"), "address"),
        (("add", "http://h", "--name", "a b", "--model", "m"), "“a b” is none"),
        (("add", "http://h", "--name", "a", "--model", "m", "--key-variable", "NO_KEY"), "NO_KEY is not set"),
        (("add", "http://h", "--name", "a", "--model", "m", "--read-price", "1"), "--written-price"),
        (("test", "gone"), "There is no server @gone. There are: none yet."),
        (("remove", "gone"), "@gone"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    give: Give, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    code, _, why = give(*arguments)
    assert code == 2
    assert said in why
