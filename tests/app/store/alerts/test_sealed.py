"""Channels' addresses at rest: sealed where there is a key, kept as they were where there is none."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from app.secrets import NO_SECRETS, Secrets, is_sealed, new_key
from app.store import DeliveryState, RunStore, StoreError
from app.store.alerts.schema import AlertChannelRow

OLD, NEW = new_key(), new_key()
ADDRESS = "mailtos://anna:correct-horse@example.com"


def another_server(store: RunStore, secrets: Secrets) -> closing[RunStore]:
    url = store._database.url.render_as_string(hide_password=False)
    return closing(RunStore.open(url, secrets=secrets))


def kept(store: RunStore) -> str:
    with store._database.read() as session:
        return session.scalars(select(AlertChannelRow.url)).one()


def sent_to(store: RunStore, channel: str) -> str:
    store.alerts.channels.test(channel)
    (errand,) = store.alerts.channels.claim()
    store.alerts.channels.settle(errand.delivery, None)
    return errand.url


@pytest.fixture
def channel(store: RunStore) -> str:
    """A channel that was added by a server without a key."""
    return store.alerts.channels.add("mail", "E-mail", ADDRESS)


def test_without_a_key_an_address_is_kept_in_plain_text_and_said_to_be(store: RunStore, channel: str) -> None:
    assert kept(store) == ADDRESS
    assert [each.is_sealed for each in store.alerts.channels.all()] == [False]
    assert not store.alerts.channels.keeps_secrets
    assert sent_to(store, channel) == ADDRESS


def test_a_server_with_a_key_seals_what_it_is_given_and_what_is_there(store: RunStore, channel: str) -> None:
    with another_server(store, Secrets([OLD])) as keyed:
        assert is_sealed(kept(store))
        assert sent_to(keyed, channel) == ADDRESS
        keyed.alerts.channels.remove(channel)
        added = keyed.alerts.channels.add("hook", "JSON", "json://a")
        assert "json" not in kept(store)
        assert [each.is_sealed for each in keyed.alerts.channels.all()] == [True]
        assert sent_to(keyed, added) == "json://a"


def test_a_new_key_seals_anew_and_the_old_one_can_go(store: RunStore, channel: str) -> None:
    for keys in ([OLD], [NEW, OLD], [NEW]):
        with another_server(store, Secrets(keys)) as keyed:
            assert sent_to(keyed, channel) == ADDRESS


@pytest.mark.parametrize("fails", ["look_around", "seal_all"])
def test_what_fails_at_the_start_keeps_no_other_from_being_sealed_and_is_tried_again(
    store: RunStore, channel: str, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    kind: type = RunStore if fails == "look_around" else type(store.alerts.channels)
    full, step = [True], getattr(kind, fails)

    def failing(self: object) -> object:
        if full:
            raise StoreError("The disk is full.")
        return step(self)

    monkeypatch.setattr(kind, fails, failing)
    with another_server(store, Secrets([OLD])) as keyed:
        assert is_sealed(kept(store)) is (fails == "look_around")
        full.clear()
        keyed._look_after()
        assert is_sealed(kept(store))


@pytest.mark.parametrize("secrets", [NO_SECRETS, Secrets([NEW])])
def test_without_its_key_a_message_waits_and_the_page_says_why(store: RunStore, channel: str, secrets: Secrets) -> None:
    with another_server(store, Secrets([OLD])) as keyed:
        sealed = kept(keyed)
    with another_server(store, secrets) as locked:
        channels = locked.alerts.channels
        other = channels.add("hook", "JSON", "json://a")
        for each in (channel, other):
            channels.test(each)
        assert [errand.url for errand in channels.claim()] == ["json://a"]
        mail, _ = channels.all()
        assert mail.trouble is not None
        assert "GEARBOX_SECRET_KEY" in mail.trouble
        assert mail.last is not None
        assert (mail.last.state, mail.last.error) == (DeliveryState.WAITING, mail.trouble)
        channels.remove(other)
        assert kept(locked) == sealed
    with another_server(store, Secrets([NEW, OLD])) as keyed:
        assert keyed.alerts.channels.all()[0].trouble is None


def test_an_altered_address_stays_as_it_is(store: RunStore, channel: str) -> None:
    with another_server(store, Secrets([OLD])):
        altered = kept(store)[:-9]
    with store._database.write() as session:
        session.scalars(select(AlertChannelRow)).one().url = altered
    with another_server(store, Secrets([NEW, OLD])) as keyed:
        assert kept(keyed) == altered
        assert "altered" in (keyed.alerts.channels.all()[0].trouble or "")


def test_nothing_of_a_plain_address_stays_in_the_file(store: RunStore, channel: str, file: Path) -> None:
    store.close()
    assert b"correct-horse" in file.read_bytes()
    with another_server(store, Secrets([OLD])):
        pass
    assert b"correct-horse" not in file.read_bytes()
