"""Configurations that people save: whose they are, what they are called, and that they come back as they went in."""

from __future__ import annotations

import json

import pytest

from app.store import NAME_CHARACTERS, NameTakenError, RunStore
from app.store.database.errors import ConflictError, GoneError
from engine.types import RunConfig
from tests.support.fakes import make_request

CONFIG = make_request().config
OTHER = make_request(model="other").config


def names(store: RunStore, person: str | None) -> list[str]:
    return [saved.name for saved in store.configurations.saved(person)]


def test_a_configuration_comes_back_as_it_was_saved(store: RunStore) -> None:
    saved_id = store.configurations.save("me", "  Mine \n own ", CONFIG.to_dict(), warm=True)
    (saved,) = store.configurations.saved("me")
    assert (saved.id, saved.name, saved.person, saved.warm) == (saved_id, "Mine own", "me", True)
    assert RunConfig.from_dict(saved.config) == CONFIG
    assert saved.config == json.loads(json.dumps(CONFIG.to_dict()))


def test_each_person_sees_their_own_and_the_desks_by_name(store: RunStore) -> None:
    for person, name in (("me", "b"), ("me", "A"), ("you", "c"), (None, "desk")):
        store.configurations.save(person, name, CONFIG.to_dict(), warm=False)
    assert names(store, "me") == ["A", "b", "desk"]
    assert names(store, "you") == ["c", "desk"]
    assert names(store, None) == ["desk"]


@pytest.mark.parametrize("person", ["me", None])
def test_a_name_is_given_once_and_overwritten_only_if_asked(store: RunStore, person: str | None) -> None:
    first = store.configurations.save(person, "Mine", CONFIG.to_dict(), warm=False)
    with pytest.raises(NameTakenError, match="“Mine” is there already"):
        store.configurations.save(person, "Mine", OTHER.to_dict(), warm=True)
    assert not store.configurations.saved(person)[0].warm
    assert store.configurations.save(person, "Mine", OTHER.to_dict(), warm=True, overwrite=True) == first
    (saved,) = store.configurations.saved(person)
    assert (saved.config["model"], saved.warm) == ("other", True)
    store.configurations.save("you", "Mine", CONFIG.to_dict(), warm=False)


def test_one_can_be_renamed_and_deleted_by_whose_it_is(store: RunStore) -> None:
    kept = store.configurations
    mine, other = (kept.save("me", name, CONFIG.to_dict(), warm=False) for name in ("Mine", "Other"))
    with pytest.raises(NameTakenError):
        kept.rename("me", mine, "Other")
    with pytest.raises(GoneError):
        kept.rename("you", mine, "Yours")
    kept.rename("me", mine, "Mine")
    kept.rename("me", mine, "Best")
    kept.delete("you", other)
    assert names(store, "me") == ["Best", "Other"]
    kept.delete("me", other)
    kept.delete("me", other)
    assert names(store, "me") == ["Best"]
    with pytest.raises(GoneError):
        kept.rename("me", other, "Gone")


def test_a_name_is_short_and_not_empty(store: RunStore) -> None:
    with pytest.raises(ConflictError, match="name"):
        store.configurations.save("me", " \n ", CONFIG.to_dict(), warm=False)
    store.configurations.save("me", "x" * 500, CONFIG.to_dict(), warm=False)
    assert names(store, "me") == ["x" * NAME_CHARACTERS]


def test_saving_once_overwrites_none_and_repeats_none(store: RunStore) -> None:
    saved = store.configurations
    saved.save("ann", "Careful", {"mine": True}, warm=False)
    config, other = CONFIG.to_dict(), OTHER.to_dict()
    assert saved.save_once("ann", "Careful", config) == "Careful 2"
    assert saved.save_once("ann", "Careful", config) == "Careful 2"
    assert saved.save_once("ann", " Careful ", other) == "Careful 3"
    kept = {each.name: each.config for each in saved.saved("ann")}
    assert kept["Careful"] == {"mine": True}
    assert RunConfig.from_dict(kept["Careful 2"]) == CONFIG
    assert saved.save_once("ann", "x" * 200, config) == "Careful 2"
    long = saved.save_once("bob", "x" * 200, config)
    assert long == "x" * 60
    assert saved.save_once("bob", "x" * 200, other) == f"{'x' * 56} 2"
