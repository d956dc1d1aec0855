"""Remote models in the run database: what is kept of them, names once, and what a test found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.remote.prices import ListPrice
from app.secrets import Secrets, new_key
from app.store import NewRemote, RunStore
from app.store.database.errors import ConflictError, GoneError

OFFICE = NewRemote(
    name="@office", url="http://h:8000/v1", served_name="llama", price=ListPrice(1.0, 2.0), sealed_key="s", has_key=True
)


def test_one_comes_back_as_it_was_kept(store: RunStore) -> None:
    kept = store.remotes.add(OFFICE)
    assert store.remotes.named("@office") == kept
    assert store.remotes.named("@other") is None
    assert NewRemote(**{name: getattr(kept, name) for name in NewRemote.__dataclass_fields__}) == OFFICE
    assert kept.abilities is None
    assert "sealed_key" not in repr(kept)


def test_a_name_is_given_once(store: RunStore) -> None:
    first = store.remotes.add(OFFICE)
    other = store.remotes.add(replace(OFFICE, name="@a", price=None))
    assert [each.name for each in store.remotes.all()] == ["@a", "@office"]
    for change in (lambda: store.remotes.add(OFFICE), lambda: store.remotes.change(other.id, OFFICE)):
        with pytest.raises(ConflictError, match="@office already"):
            change()
    assert store.remotes.change(first.id, replace(OFFICE, served_name="mistral")).served_name == "mistral"


def test_what_a_test_found_holds_for_the_address_and_model_it_was_found_of(store: RunStore) -> None:
    kept = store.remotes.add(OFFICE)
    store.remotes.found(kept, {"streams": "yes"})
    tested = store.remotes.named("@office")
    assert tested is not None
    assert tested.abilities == {"streams": "yes"}
    assert tested.tested_at is not None
    renamed = store.remotes.change(kept.id, replace(OFFICE, name="@home"))
    assert renamed.abilities == {"streams": "yes"}
    moved = store.remotes.change(kept.id, replace(OFFICE, url="http://other/v1"))
    assert (moved.abilities, moved.tested_at) == (None, None)
    store.remotes.found(kept, {"streams": "no"})  # of a test that began before it was moved
    assert store.remotes.all()[0].abilities is None


def test_one_that_was_removed_is_gone(store: RunStore) -> None:
    kept = store.remotes.add(OFFICE)
    store.remotes.remove(kept.id)
    store.remotes.remove(kept.id)
    assert store.remotes.all() == ()
    with pytest.raises(GoneError, match="removed"):
        store.remotes.change(kept.id, OFFICE)
    with pytest.raises(GoneError):
        store.remotes.found(kept, {})


def test_a_key_is_sealed_anew_with_the_first_key_so_that_the_older_one_can_go(store: RunStore) -> None:
    pytest.importorskip("cryptography")
    old, new = new_key(), new_key()
    sealed = Secrets([old]).seal("sk-of-a-test")
    store.remotes.add(replace(OFFICE, sealed_key=sealed))
    store.remotes.add(replace(OFFICE, name="@free", sealed_key=None, has_key=False))
    store.remotes.seal_anew(Secrets([new]))  # nothing that it opens
    store.remotes.add(replace(OFFICE, name="@altered", sealed_key=f"{sealed}A"))
    assert (before := store.remotes.named("@office")) is not None
    assert before.sealed_key == sealed
    store.remotes.seal_anew(Secrets([new, old]))
    kept = store.remotes.named("@office")
    assert kept is not None
    assert Secrets([new]).open(kept.sealed_key or "") == "sk-of-a-test"
