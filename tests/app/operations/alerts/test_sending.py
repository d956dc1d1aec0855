"""Channels on a real server: one that takes what it is told, answers 500, hangs, or is not there."""

from __future__ import annotations

import logging
import smtplib
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.operations.alerts import watch
from app.operations.alerts.sending import post, service_of, without_secrets
from app.operations.alerts.watch import Sender, observe_all
from app.store import Delivery, DeliveryState, Metric, RunStore, Scope
from app.store.alerts.channels import FIRST_PAUSE, LOST_AFTER, MOST_TRIES
from app.store.database.identity import now
from engine.errors import InvalidRequestError
from tests.support.fakes import make_request
from tests.support.past_traffic import NOW, PastTraffic
from tests.support.webhook import Webhook, webhook


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


@pytest.fixture
def fires(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A store whose traffic is slow, of a model with a name that calls everybody."""
    hostile = make_request(model="@everyone **big**\r\nBcc: all@example.com <b>")
    store.objectives.add(Metric.TTFT, 0.95, limit_s=1.0)
    PastTraffic(store, monkeypatch).runs(30, since=timedelta(minutes=55), request=hostile, ttft_s=9.0)
    return store


def add(store: RunStore, hook: Webhook) -> str:
    return store.alerts.channels.add("hook", service_of(hook.url), hook.url)


def last(store: RunStore) -> Delivery:
    (channel,) = store.alerts.channels.all()
    assert channel.last is not None
    return channel.last


def test_an_alert_is_sent_once_with_what_it_found_and_its_end_too(
    fires: RunStore, hook: Webhook, tmp_path: Path
) -> None:
    add(fires, hook)
    sender = Sender(fires)
    for minutes in (0, 1):
        observe_all(fires, tmp_path, NOW + timedelta(minutes=minutes))
        sender.send_due()
        sender.wait(20)
    (told,) = hook.came
    assert told["title"] == "Gearbox: Firing: Error budget burns fast: TTFT p95 ≤ 1.00 s"
    assert "30 of 30 requests" in told["message"]
    assert "Look first at: machine" in told["message"]
    assert last(fires).state is DeliveryState.SENT
    for minutes in (3 * 24 * 60, 3 * 24 * 60 + 24 * 60 + 1):  # nobody can tell any more
        observe_all(fires, tmp_path, NOW + timedelta(minutes=minutes))
    sender.send_due()
    sender.wait(20)
    assert [each["title"].split(": ")[1] for each in hook.came] == ["Firing", "Resolved"]
    assert fires.alerts.open() == ()


def test_a_model_s_name_neither_calls_somebody_nor_breaks_a_line(
    store: RunStore, hook: Webhook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hostile = "@everyone\r\nBcc: all@example.com <b>"
    store.objectives.add(Metric.TTFT, 0.95, limit_s=1.0, scope=Scope(model=hostile))
    PastTraffic(store, monkeypatch).runs(30, since=timedelta(minutes=55), request=make_request(model=hostile), ttft_s=9)
    add(store, hook)
    observe_all(store, tmp_path, NOW)
    sender = Sender(store)
    sender.send_due()
    sender.wait(20)
    title = hook.came[0]["title"]
    assert "everyone" in title
    assert "@everyone" not in title
    assert "\n" not in title
    assert "\r" not in title
    assert "<b>" not in title


def test_one_that_answers_500_is_tried_again_later_and_given_up_in_the_end(store: RunStore, hook: Webhook) -> None:
    channels, sender = store.alerts.channels, Sender(store)
    channels.test(add(store, hook))
    hook.status, at = 500, now()
    for tries in range(1, MOST_TRIES + 1):
        sender.send_due(at)
        sender.wait(20)
        told = last(store)
        assert (told.tries, told.error) == (tries, "The service answered 500.")
        if tries < MOST_TRIES:
            assert told.state is DeliveryState.WAITING
            assert told.due_at - now() <= FIRST_PAUSE * 2 ** (tries - 1)
            at = told.due_at
    assert last(store).state is DeliveryState.GIVEN_UP
    assert len(hook.came) == MOST_TRIES


def test_after_an_error_it_comes_through(store: RunStore, hook: Webhook) -> None:
    channels, sender = store.alerts.channels, Sender(store)
    channels.test(add(store, hook))
    hook.status = 500
    sender.send_due()
    sender.wait(20)
    sender.send_due()  # not due yet
    sender.wait(20)
    hook.status = 200
    sender.send_due(last(store).due_at)
    sender.wait(20)
    assert last(store).state is DeliveryState.SENT
    assert len(hook.came) == 2


def test_one_that_hangs_holds_up_nobody_else(store: RunStore, hook: Webhook) -> None:
    hook.hangs = threading.Event()
    channels, sender = store.alerts.channels, Sender(store)
    channels.test(add(store, hook))
    with webhook() as other:
        channels.test(channels.add("other", service_of(other.url), other.url))
        sender.send_due()
        assert other.arrived.wait(20)
    sender.wait(20)
    told = {channel.name: channel.last for channel in channels.all()}
    states = {name: (message.state, message.error) for name, message in told.items() if message}
    assert states == {
        "other": (DeliveryState.SENT, None),
        "hook": (DeliveryState.WAITING, "No connection, no answer in time, or the login was refused."),
    }


def test_while_one_is_sent_to_it_is_sent_nothing_else(store: RunStore, hook: Webhook) -> None:
    let_go = threading.Event()
    sent: list[str] = []

    def slow(url: str, title: str, body: str) -> None:
        sent.append(title)
        let_go.wait(20)

    sender, channel_id = Sender(store, slow), add(store, hook)
    store.alerts.channels.test(channel_id)
    sender.send_due()
    store.alerts.channels.test(channel_id)
    sender.send_due()
    assert len(sent) <= 1
    let_go.set()
    sender.wait(20)
    sender.send_due()
    sender.wait(20)
    assert len(sent) == 2


def test_a_message_whose_sender_died_is_sent_again(store: RunStore, hook: Webhook) -> None:
    channels = store.alerts.channels
    channels.test(add(store, hook))
    (errand,) = channels.claim()
    assert channels.claim() == ()
    assert channels.claim(now() + LOST_AFTER - timedelta(seconds=5)) == ()
    (again,) = channels.claim(now() + LOST_AFTER)
    assert again.delivery.id == errand.delivery.id
    assert again.delivery.tries == 2


def test_a_clock_set_back_holds_no_message_back_for_long(store: RunStore, hook: Webhook) -> None:
    channels = store.alerts.channels
    channels.test(add(store, hook))
    assert channels.claim(now() - timedelta(hours=1)) == ()
    assert len(channels.claim(now() - timedelta(days=1))) == 1


def test_an_address_is_a_secret(
    store: RunStore, hook: Webhook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("apprise").removeHandler(caplog.handler)  # which pytest gives to loggers that keep to themselves
    hook.status = 500
    channels = store.alerts.channels
    channels.test(add(store, hook))
    sender = Sender(store)
    (channel,) = channels.all()
    assert channel.service == "JSON (json://…)"
    sender.send_due()
    sender.wait(20)
    seen = (
        f"{channels.all()}{channels.deliveries()}{channels.claim(last(store).due_at)}{caplog.text}{capfd.readouterr()}"
    )
    assert "hook-secret-4711" not in seen
    assert post("json://nobody.invalid/hook-secret-4711?rto=1&cto=1", "t", "b")
    assert "nobody.invalid" not in caplog.text
    assert without_secrets("Failed for user Anna%40 at host Example.com", "mailtos://anna:pw@example.com/") == (
        "Failed for user …%40 at host …"
    )
    assert "AAsecret" not in without_secrets("Unauthorized: AAsecret", "tgram://123456789:AAsecret/12345")


def test_what_a_plugin_raises_is_an_error_in_words_and_shows_no_address(
    store: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Mail(smtplib.SMTP):
        def __init__(self, *_: object, **__: object) -> None:
            raise UnicodeEncodeError("ascii", "pässword-4711", 1, 2, "ordinal not in range(128)")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smtplib, "SMTP_SSL", Mail)
        patch.setattr(smtplib, "SMTP", Mail)
        url = "mailtos://anna:p%C3%A4ssword-4711@example.invalid?to=team@example.invalid"
        store.alerts.channels.test(store.alerts.channels.add("mail", service_of(url), url))
        sender = Sender(store)
        sender.send_due()
        sender.wait(20)
    told = last(store)
    assert told.state is DeliveryState.WAITING
    assert "UnicodeEncodeError" in str(told.error)
    assert "4711" not in f"{told.error}{caplog.text}"


def test_one_that_hangs_for_long_is_told_of_and_gets_nothing_more_until_it_ends(
    store: RunStore, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_NO_ANSWER_S", 0.0)
    entered, go_on = threading.Event(), threading.Event()
    sent: list[str] = []

    def hang(url: str, title: str, body: str) -> str:
        sent.append(title)
        entered.set()
        go_on.wait(20)
        return "an answer, much too late"

    channels, sender, channel_id = store.alerts.channels, Sender(store, hang), add(store, hook)
    for _ in range(2):
        channels.test(channel_id)
    sender.send_due()
    assert entered.wait(20)
    for hours in (1, 2, 3):
        sender.send_due(now() + timedelta(hours=hours))
    assert {each.error for each in channels.deliveries()} == {"No answer within a minute."}
    assert [each.tries for each in channels.deliveries()] == [1, 1]
    go_on.set()
    sender.wait(20)
    assert len(sent) == 1  # not the second one, which is to be tried again
    sender.send_due(now() + timedelta(hours=4))
    sender.wait(20)
    assert len(sent) == 3


def test_one_that_is_lost_at_each_try_is_given_up_with_an_error(store: RunStore, hook: Webhook) -> None:
    channels = store.alerts.channels
    channels.test(add(store, hook))
    at = now()
    for _ in range(MOST_TRIES):
        (errand,) = channels.claim(at)
        at += LOST_AFTER
    assert errand.delivery.error
    assert channels.claim(at) == ()
    assert (last(store).state, last(store).tries) == (DeliveryState.GIVEN_UP, MOST_TRIES)
    assert last(store).error
    assert channels.claim(at + LOST_AFTER) == ()


@pytest.mark.parametrize("url", ["", "nonsense", "http://example.com/hook", "syslog://", "json://", "slack://a"])
def test_what_cannot_be_sent_to_is_refused_in_words(url: str) -> None:
    with pytest.raises(InvalidRequestError):
        service_of(url)
