"""Keys at rest: shown once, found again, revoked for good, and nothing of the secret anywhere."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from app.doors.hashing import hashed, is_hash, matches
from app.doors.keys import KeyLimits, new_secret, prefix_of
from app.store import RunStore
from app.store.database.errors import ConflictError, GoneError
from app.store.keys import repository
from app.store.keys.repository import KeyStore


@pytest.fixture
def keys(store: RunStore) -> KeyStore:
    return store.keys


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The slow hashes that were looked at."""
    hashes: list[str] = []

    def look(hash: str, secret: str) -> bool:
        hashes.append(hash)
        return matches(hash, secret)

    monkeypatch.setattr(repository, "matches", look)
    return hashes


def test_a_secret_is_256_random_bits_behind_a_prefix_that_says_nothing_of_them() -> None:
    prefix, secret = new_secret()
    assert re.fullmatch(r"gbx_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", secret)
    assert prefix_of(secret) == prefix
    assert len({new_secret()[1] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text",
    ["", "gbx_", "sk-123", "gbx_0123456_" + "x" * 43, "gbx_01234567_" + "x" * 42, "gbx_01234567_" + "x" * 44,
     "gbx_01234567_" + "é" * 43, "gbx_0123456G_" + "x" * 43, "gbx_01234567_" + "x" * 43 + "\n", "x" * 100_000,
     "gbx_٠١٢٣٤٥٦٧_" + "x" * 43],
)  # fmt: skip
def test_what_cannot_be_a_key_is_none(text: str) -> None:
    assert prefix_of(text) is None


def test_a_key_comes_back_with_its_limits_and_its_secret_opens_it(keys: KeyStore) -> None:
    limits = KeyLimits(requests_per_minute=7, tokens_per_minute=9_000, concurrent=2, queue=0)
    key, secret = keys.create("  Anna's \x1b\n notebook\x07 ", limits, created_by="p" * 32)
    assert (key.name, key.limits, key.created_by, key.revoked_at) == ("Anna's notebook", limits, "p" * 32, None)
    assert keys.list() == (key,)
    found = keys.check(secret)
    assert found is not None
    assert (found.id, found.limits) == (key.id, limits)


def test_a_secret_is_nowhere_in_the_database_nor_in_what_is_shown(keys: KeyStore, file: Path, store: RunStore) -> None:
    key, secret = keys.create("mine", KeyLimits())
    assert keys.check(secret)
    store.close()
    random = secret.removeprefix(key.prefix)
    assert all(random.encode() not in path.read_bytes() for path in file.parent.glob("gearbox.db*") if path.is_file())
    with closing(sqlite3.connect(file)) as connection:
        (kept,) = connection.execute("SELECT hash FROM api_keys").fetchone()
    assert kept.startswith("$argon2id$")
    assert random not in repr(key)


def test_wrong_secrets_open_nothing(keys: KeyStore) -> None:
    key, secret = keys.create("mine", KeyLimits())
    _, strange = new_secret()
    assert keys.check(strange) is None
    assert keys.check(key.prefix + strange[12:]) is None
    assert keys.check(secret[:-1]) is None
    assert keys.check("") is None
    assert keys.check(secret) is not None
    assert keys.check(key.prefix + strange[12:]) is None


def test_a_key_is_known_again_without_the_slow_hash_but_only_by_its_very_secret(
    keys: KeyStore, looked: list[str]
) -> None:
    key, secret = keys.create("mine", KeyLimits())
    assert keys.known(secret) is None
    assert keys.check(secret)
    assert len(looked) == 1
    known = keys.known(secret)
    assert known is not None
    assert known.id == key.id
    assert keys.known(key.prefix + new_secret()[1][12:]) is None
    assert len(looked) == 1


def test_what_is_not_known_costs_one_look_whether_the_prefix_is_there_or_not(keys: KeyStore, looked: list[str]) -> None:
    key, secret = keys.create("mine", KeyLimits())
    revoked, revoked_secret = keys.create("old", KeyLimits())
    keys.revoke(revoked.prefix)
    for wrong in (new_secret()[1], key.prefix + new_secret()[1][12:], revoked_secret, "no key at all"):
        looked.clear()
        assert keys.check(wrong) is None
        assert len(looked) == 1
        # at the cost of a real one
        assert looked[0].split("$")[1:4] == hashed("x").split("$")[1:4]
    assert keys.check(secret)


def test_a_revoked_key_is_refused_at_once_and_for_good_also_by_another_process(
    keys: KeyStore, store: RunStore, file: Path
) -> None:
    key, secret = keys.create("mine", KeyLimits())
    assert keys.check(secret)
    assert keys.known(secret)
    other = RunStore.open(f"sqlite:///{file}")
    revoked = other.keys.revoke(key.prefix)
    assert revoked.revoked_at is not None
    other.close()
    assert keys.known(secret) is None
    assert keys.check(secret) is None
    assert keys.revoke(key.prefix).revoked_at == revoked.revoked_at


@pytest.mark.parametrize("prefix", ["gbx_00000000", "", "%", "'; DROP TABLE api_keys --"])
def test_to_revoke_what_is_not_there_says_so(keys: KeyStore, prefix: str) -> None:
    with pytest.raises(GoneError, match="no key with this prefix"):
        keys.revoke(prefix)


@pytest.mark.parametrize("name", ["", "  ", "\n", "\x1b"])
def test_a_key_has_a_name(keys: KeyStore, name: str) -> None:
    with pytest.raises(ConflictError, match="a name"):
        keys.create(name, KeyLimits())


@pytest.mark.parametrize(
    "limits",
    [
        KeyLimits(requests_per_minute=0),
        KeyLimits(tokens_per_minute=-1),
        KeyLimits(concurrent=0),
        KeyLimits(queue=-1),
        KeyLimits(tokens_per_minute=2**70),
    ],
)
def test_a_limit_lets_something_through(keys: KeyStore, limits: KeyLimits) -> None:
    with pytest.raises(ConflictError, match="whole number"):
        keys.create("mine", limits)
    assert keys.list() == ()


def test_the_last_use_is_kept_to_the_minute(keys: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = keys.create("mine", KeyLimits())
    assert key.last_used_at is None
    keys.check(secret)
    (first,) = keys.list()
    assert first.last_used_at is not None
    moment = first.last_used_at
    for later, kept in ((59, moment), (61, moment + timedelta(seconds=61))):
        monkeypatch.setattr(repository, "now", lambda later=later: moment + timedelta(seconds=later))
        keys.known(secret)
        assert keys.list()[0].last_used_at == kept


def test_a_busy_database_refuses_no_key(keys: KeyStore, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    key, secret = keys.create("mine", KeyLimits())
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert keys.check(secret)
    assert keys.list()[0].last_used_at is None
    assert key.prefix in caplog.text
    assert secret not in caplog.text


def test_no_secret_is_ever_logged(keys: KeyStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)  # each statement with its values
    try:
        key, secret = keys.create("mine", KeyLimits())
        wrong = key.prefix + new_secret()[1][12:]
        keys.check(wrong)
        keys.check(secret)
        keys.known(secret)
        keys.revoke(key.prefix)
        keys.check(secret)
    finally:
        logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
    assert "api_keys" in caplog.text
    assert secret[12:] not in caplog.text
    assert wrong[12:] not in caplog.text


def test_a_hash_is_told_from_a_password() -> None:
    assert is_hash(hashed("correct horse"))
    assert not is_hash("correct horse")
    assert not is_hash("$argon2id$v=19$nonsense")
    assert hashed("a") != hashed("a")
