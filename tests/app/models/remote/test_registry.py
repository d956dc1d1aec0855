"""Remote models as the engine finds them, and where their keys are."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.models.remote.registry import KeyPlace, RemoteKeyError, RemoteModels, key_warning
from app.remote.prices import ListPrice
from app.secrets import NO_SECRETS, Secrets, SecretsError, new_key
from app.store import RunStore
from engine.errors import InvalidRequestError

KEY, OTHER = "sk-of-a-test", "sk-another-one"
OFFICE = {"name": "office", "url": "http://h:8000", "served_name": "llama"}


def remotes(store: RunStore, secrets: Secrets = NO_SECRETS, **environ: str) -> RemoteModels:
    return RemoteModels(lambda: store.remotes, secrets, environ)


def change(those: RemoteModels, **changed: object) -> None:
    described: dict[str, object] = {**OFFICE, "metrics_url": "", "key": None, "price": None, **changed}
    those.change(those.all()[0], **described)  # type: ignore[arg-type]


def test_one_is_found_by_its_name_and_what_is_changed_counts_at_once(store: RunStore) -> None:
    those = remotes(store)
    those.add(**OFFICE, price=ListPrice(1.0, 2.0))
    found = those.resolve("@office")
    assert found is not None
    assert (found.name, found.url, found.served_name, found.key) == ("@office", "http://h:8000/v1", "llama", None)
    assert those.prices() == {"@office": ListPrice(1.0, 2.0)}
    change(those, served_name="mistral")
    assert (changed := those.resolve("@office")) is not None
    assert changed.served_name == "mistral"
    assert those.prices() == {}
    those.remove(those.all()[0])
    assert those.resolve("@office") is None
    assert those.resolve("office") is None


def test_without_a_secret_key_a_key_is_in_memory_alone(store: RunStore, file: Path) -> None:
    those = remotes(store)
    kept = those.add(**OFFICE, key=f" {KEY} ")
    assert those.key_place(kept) is KeyPlace.MEMORY
    assert (found := those.resolve("@office")) is not None
    assert found.key == KEY
    assert KEY not in repr(found)
    assert KEY.encode() not in file.read_bytes() + Path(f"{file}-wal").read_bytes()
    after = remotes(store)  # as another server, or this one after a restart
    assert after.key_place(kept) is KeyPlace.LOST
    with pytest.raises(RemoteKeyError, match="Give it again on the Models page"):
        after.resolve("@office")
    change(after, key=OTHER)
    assert (given := after.resolve("@office")) is not None
    assert given.key == OTHER


def test_with_a_secret_key_it_is_kept_sealed(store: RunStore, file: Path) -> None:
    pytest.importorskip("cryptography")
    secrets = Secrets([new_key()])
    those = remotes(store, secrets)
    kept = those.add(**OFFICE, key=KEY)
    assert those.key_place(kept) is KeyPlace.SEALED
    assert KEY.encode() not in file.read_bytes() + Path(f"{file}-wal").read_bytes()
    after = remotes(store, secrets)
    assert (found := after.resolve("@office")) is not None
    assert found.key == KEY
    change(after, name="home")  # the key stays
    assert (renamed := after.resolve("@home")) is not None
    assert renamed.key == KEY
    with pytest.raises(SecretsError):
        remotes(store, Secrets([new_key()])).resolve("@home")
    change(after, key="")
    assert after.key_place(after.all()[0]) is KeyPlace.NONE


def test_a_key_goes_to_no_other_server_than_it_was_given_for(store: RunStore) -> None:
    those = remotes(store)
    those.add(**OFFICE, key=KEY)
    change(those, url="http://h:8000/else/v1")
    for elsewhere in ("http://evil:8000", "http://h:9000", "https://h:8000"):
        with pytest.raises(InvalidRequestError, match="given for another server"):
            change(those, url=elsewhere)
    change(those, url="http://evil:8000", key="")
    assert (moved := those.resolve("@office")) is not None
    assert moved.key is None


def test_a_key_of_a_variable_is_read_at_each_request(store: RunStore) -> None:
    environ = {"OFFICE_KEY": KEY}
    those = RemoteModels(lambda: store.remotes, NO_SECRETS, environ)
    with pytest.raises(InvalidRequestError, match="NO_KEY is not set"):
        those.add(**OFFICE, key_variable="NO_KEY")
    kept = those.add(**OFFICE, key_variable="OFFICE_KEY")
    assert those.key_place(kept) is KeyPlace.VARIABLE
    environ["OFFICE_KEY"] = OTHER
    assert (found := those.resolve("@office")) is not None
    assert found.key == OTHER
    del environ["OFFICE_KEY"]
    with pytest.raises(RemoteKeyError, match="OFFICE_KEY"):
        those.resolve("@office")
    with pytest.raises(InvalidRequestError, match="given for another server"):
        change(those, url="http://evil")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name"),
        ({"url": f"http://user:{KEY}@h"}, "password"),
        ({"url": "nowhere"}, "address"),
        ({"metrics_url": "http://other:8000/metrics"}, "own host"),
        ({"metrics_url": "metrics"}, "address"),
        ({"metrics_url": f"http://h:8000/metrics?token={KEY}"}, "address"),
        ({"served_name": " "}, "model"),
        ({"served_name": "a" * 201}, "model"),
        ({"key": f"{KEY}\n\rX: 1"}, "characters"),
    ],
)
def test_what_cannot_be_is_refused_in_words_without_the_key(store: RunStore, wrong: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said) as refused:
        remotes(store).add(**{**OFFICE, **wrong})  # type: ignore[arg-type]
    assert KEY not in str(refused.value)
    assert store.remotes.all() == ()


def test_a_key_over_plain_http_is_warned_of() -> None:
    assert key_warning("http://office.lan/v1", has_key=True)
    assert key_warning("http://office.lan/v1", has_key=False) is None
    assert key_warning("https://office.lan/v1", has_key=True) is None
