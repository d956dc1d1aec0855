"""Which of several servers does what only one is to do."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.store import RunStore
from app.store.database.owner import Owner
from app.store.upkeep import turns as turns_module
from app.store.upkeep.turns import Turns


def other(store: RunStore, **changes: object) -> Turns:
    """As a process of another machine would have it."""
    owner = Owner("another-host", 7, 1.0)
    return Turns(store._database, replace(owner, **changes))


def test_the_first_that_asks_has_it(store: RunStore) -> None:
    first, second = other(store), other(store, pid=8)
    assert first.is_ours("sweeping")
    assert not second.is_ours("sweeping")
    assert first.is_ours("sweeping")
    assert second.is_ours("washing up")


def test_a_silent_server_loses_its_turn(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = other(store), other(store, pid=8)
    assert first.is_ours("sweeping")
    later = turns_module.now() + timedelta(minutes=6)
    monkeypatch.setattr(turns_module, "now", lambda: later)
    assert second.is_ours("sweeping")
    assert not first.is_ours("sweeping")


def test_so_does_one_whose_clock_was_ahead(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, moment = other(store), other(store, pid=8), turns_module.now()
    monkeypatch.setattr(turns_module, "now", lambda: moment + timedelta(days=400))
    assert first.is_ours("sweeping")
    monkeypatch.setattr(turns_module, "now", lambda: moment)
    assert second.is_ours("sweeping")


def test_one_that_goes_on_asking_keeps_it(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = other(store), other(store, pid=8)
    began = turns_module.now()
    for minutes in range(0, 20, 2):
        moment = began + timedelta(minutes=minutes)
        monkeypatch.setattr(turns_module, "now", lambda moment=moment: moment)
        assert first.is_ours("sweeping")
        assert not second.is_ours("sweeping")


def test_a_dead_process_of_this_machine_loses_it_at_once(store: RunStore) -> None:
    here = store._presence.owner
    dead = Turns(store._database, Owner(here.host, 2**22 + 1, 1.0))
    assert dead.is_ours("sweeping")
    assert store.turns.is_ours("sweeping")
    assert not dead.is_ours("sweeping")


def test_a_turn_is_given_back(store: RunStore) -> None:
    assert store.turns.holder("sweeping") is None
    assert store.turns.is_ours("sweeping")
    holder = store.turns.holder("sweeping")
    assert holder is not None
    assert holder.here
    other(store).give_back("sweeping")
    assert store.turns.holder("sweeping") == holder
    store.turns.give_back("sweeping")
    assert store.turns.holder("sweeping") is None
