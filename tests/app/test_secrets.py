"""Sealed texts: what opens them, and what is said where nothing does."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from app.secrets import NO_SECRETS, Secrets, SecretsError, is_sealed, new_key
from app.settings import Settings

OLD, NEW = new_key(), new_key()


@given(st.text())
def test_what_is_sealed_opens_again_and_shows_nothing_of_the_text(text: str) -> None:
    sealed = Secrets([NEW]).seal(text)
    assert sealed is not None
    assert is_sealed(sealed)
    assert len(text) < 4 or text not in sealed
    assert Secrets([NEW]).open(sealed) == text


def test_the_same_text_is_sealed_otherwise_each_time() -> None:
    assert Secrets([NEW]).seal("a") != Secrets([NEW]).seal("a")


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    sealed = Secrets([OLD]).seal("a") or ""
    both = Secrets([NEW, OLD])
    assert both.open(sealed) == "a"
    assert both.is_due(sealed)
    anew = both.seal(both.open(sealed)) or ""
    assert not both.is_due(anew)
    assert Secrets([NEW]).open(anew) == "a"


def test_plain_texts_are_due_where_there_is_a_key() -> None:
    assert Secrets([NEW]).is_due("json://a")
    assert not NO_SECRETS.is_due("json://a")
    assert not Secrets([NEW]).is_due(Secrets([OLD]).seal("a") or "")


def test_without_a_key_nothing_is_sealed_or_opened() -> None:
    assert not NO_SECRETS.can_keep
    assert NO_SECRETS.seal("a") is None
    with pytest.raises(SecretsError, match="GEARBOX_SECRET_KEY is not set"):
        NO_SECRETS.open(Secrets([OLD]).seal("a") or "")


def test_a_wrong_key_is_told_apart_from_an_altered_text() -> None:
    sealed = Secrets([OLD]).seal("a secret") or ""
    with pytest.raises(SecretsError, match="GEARBOX_SECRET_KEY is another key"):
        Secrets([NEW]).open(sealed)
    middle = len(sealed) // 2
    other = "A" if sealed[middle] != "A" else "B"
    for altered in (sealed[:middle] + other + sealed[middle + 1 :], sealed[:-9], "gearbox-sealed:", "", "a secret"):
        with pytest.raises(SecretsError, match="was altered"):
            Secrets([OLD]).open(altered)


def test_keys_are_in_the_form_of_fernet_and_come_from_the_settings() -> None:
    key = Fernet.generate_key().decode()
    secrets = Secrets.of(Settings.from_env({"GEARBOX_SECRET_KEY": f"{key},{OLD}"}))
    assert secrets.open(Secrets([key]).seal("a") or "") == "a"
    assert secrets.older_keys == 1
    assert not Secrets.of(Settings.from_env({})).can_keep
