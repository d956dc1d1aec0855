"""The server's own look: one of several servers, and what keeps it from looking."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from app.operations.alerts.rules import SHIPPED, all_rules
from app.operations.alerts.watch import TURN, AlertWatch, Sender, observe_all
from app.store import DeliveryState, Metric, RunFilter, RunStatus, RunStore, Tally
from app.store.database import session as database_session
from app.store.database.identity import now
from tests.support.past_traffic import NOW, PastTraffic
from tests.support.waiting import locked, until

_LOOK = """
import sys
from app.store import RunStore
store = RunStore.open(sys.argv[1])
print(store.turns.is_ours("alerts"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(store: RunStore) -> Iterator[RunStore]:
    """Another server's store on the same database."""
    second = RunStore.open(str(store._database.url))
    yield second
    second.close()


def plant(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that fail, just now."""
    traffic = PastTraffic(store, monkeypatch)
    moment = now()
    for number in range(20):
        traffic.run(moment - timedelta(seconds=10 + number), status=RunStatus.FAILED)


def test_two_servers_that_look_at_one_moment_send_one_message(
    store: RunStore, other: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant(store, monkeypatch)
    store.alerts.channels.add("hook", "JSON", "json://nowhere.invalid")
    sent: list[str] = []
    both = threading.Barrier(2)

    def look(each: RunStore) -> None:
        both.wait(20)
        observe_all(each, tmp_path, now())
        both.wait(20)
        sender = Sender(each, lambda url, title, body: sent.append(title))
        sender.send_due()
        sender.wait(20)

    threads = [threading.Thread(target=look, args=(each,)) for each in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sent == ["Gearbox: Firing: Runs fail"]
    assert len(store.alerts.history()) == 1


def test_of_two_servers_one_looks_until_it_ends(store: RunStore, other: RunStore) -> None:
    assert store.turns.is_ours(TURN)
    assert store.turns.is_ours(TURN)
    assert not other.turns.is_ours(TURN)
    holder = other.turns.holder(TURN)
    assert holder is not None
    assert not holder.here
    store.turns.give_back(TURN)
    assert other.turns.is_ours(TURN)
    store.turns.give_back(TURN)
    assert not store.turns.is_ours(TURN)


def test_a_server_that_was_killed_is_in_nobody_s_way(store: RunStore) -> None:
    url = str(store._database.url)
    server = subprocess.Popen(
        [sys.executable, "-c", _LOOK, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline().strip() == "True"
    assert not store.turns.is_ours(TURN)
    server.kill()
    server.communicate()
    assert store.turns.is_ours(TURN)


def test_the_watch_goes_on_once_the_database_is_free_again(
    store: RunStore, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(database_session, "BUSY_TIMEOUT_MS", 50)
    plant(store, monkeypatch)
    store.alerts.channels.add("hook", "JSON", "json://nowhere.invalid")
    sent: list[str] = []
    with locked(file):
        watch = AlertWatch(
            lambda: store,
            tmp_path,
            first_s=0.0,
            look_every_s=0.05,
            post=lambda url, title, body: sent.append(title),
        )
        until(lambda: watch.troubled)
        assert sent == []
    until(lambda: sent)
    until(lambda: store.alerts.channels.deliveries()[0].state is DeliveryState.SENT)
    watch.close()
    assert sent == ["Gearbox: Firing: Runs fail"]
    assert not watch.troubled
    assert store.turns.holder(TURN) is None


def test_while_a_channel_hangs_another_server_sends_it_nothing(
    store: RunStore, other: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant(store, monkeypatch)
    channel = store.alerts.channels.add("hook", "JSON", "json://nowhere.invalid")
    begun, answers, sent = threading.Event(), threading.Event(), []

    def hang(url: str, title: str, body: str) -> None:
        begun.set()
        answers.wait(20)

    first = AlertWatch(lambda: store, tmp_path, first_s=0.0, look_every_s=0.05, post=hang)
    assert begun.wait(20)
    store.alerts.channels.test(channel)
    rounds = threading.Semaphore(0)
    is_ours = other.turns.is_ours
    monkeypatch.setattr(other.turns, "is_ours", lambda task: (rounds.release(), is_ours(task))[1])
    second = AlertWatch(
        lambda: other, tmp_path, first_s=0.0, look_every_s=0.05, post=lambda url, title, body: sent.append(title)
    )
    for _ in range(3):
        assert rounds.acquire(timeout=20)
    assert sent == []
    first.close()
    until(lambda: sent)
    answers.set()
    second.close()
    assert sent == ["Gearbox: a test"]


def test_what_a_rule_that_is_switched_off_had_open_is_resolved_and_told_of(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant(store, monkeypatch)
    store.alerts.channels.add("hook", "JSON", "json://nowhere.invalid")
    sent: list[tuple[str, str]] = []
    sender = Sender(store, lambda url, title, body: sent.append((title, body)))
    observe_all(store, tmp_path, now())
    sender.send_due()
    sender.wait(20)
    (alert,) = store.alerts.open()
    rule = next(rule for rule in SHIPPED if rule.key == alert.rule)
    store.alerts.keep_rule(replace(rule, is_on=False))
    assert [each.is_on for each in all_rules(store.alerts.rules()) if each.key == rule.key] == [False]
    observe_all(store, tmp_path, now())
    assert store.alerts.open() == ()
    assert store.alerts.events([alert.id])[-1].words == "Its rule was switched off."
    sender.send_due()
    sender.wait(20)
    title, body = sent[-1]
    assert len(sent) == 2
    assert title == "Gearbox: Resolved: Runs fail"
    assert body.endswith("Its rule was switched off.")
    store.alerts.drop_rule(rule.key)
    assert all_rules(store.alerts.rules()) == SHIPPED


def test_a_change_is_measured_against_what_was_before_the_alert(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.objectives.memo.clock = lambda: 0.0  # readings take no time, so that none is kept
    traffic, hour = PastTraffic(store, monkeypatch), timedelta(hours=1)
    traffic.runs(60, since=25 * hour, until=hour, prompt_tokens=100, cached_tokens=70)
    traffic.runs(40, since=hour, until=-30 * hour, prompt_tokens=100, cached_tokens=5)
    traffic.runs(90, since=-hour, until=-30 * hour, prompt_tokens=100, cached_tokens=5)
    observe_all(store, tmp_path, NOW)
    assert store.alerts.open() == ()  # too few in its hour
    traffic.runs(40, since=hour, prompt_tokens=100, cached_tokens=5)
    observe_all(store, tmp_path, NOW)
    (alert,) = store.alerts.open()
    later = NOW + 29 * hour
    traffic.runs(40, since=-28 * hour, until=-29 * hour, prompt_tokens=100, cached_tokens=5)
    observe_all(store, tmp_path, later)
    assert [each.id for each in store.alerts.open()] == [alert.id]


def test_what_a_change_is_measured_against_is_not_read_anew_while_its_alert_is_open(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    traffic, hour = PastTraffic(store, monkeypatch), timedelta(hours=1)
    traffic.runs(60, since=25 * hour, until=hour, prompt_tokens=100, cached_tokens=70)
    traffic.runs(90, since=hour, prompt_tokens=100, cached_tokens=5)
    observe_all(store, tmp_path, NOW)
    (alert,) = store.alerts.open()
    ticks = count()
    store.objectives.memo.clock = lambda: float(next(ticks))  # each reading takes a second
    read: list[RunFilter] = []
    tally = store.objectives.tally

    def counting(filter: RunFilter) -> Tally:
        read.append(filter)
        return tally(filter)

    monkeypatch.setattr(store.objectives, "tally", counting)
    for seconds in (30, 60, 90):
        observe_all(store, tmp_path, NOW + timedelta(seconds=seconds))
    assert [filter.until for filter in read].count(alert.runs_since) == 1
    assert [each.id for each in store.alerts.open()] == [alert.id]


def test_an_objective_that_is_removed_ends_its_alerts(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    objective = store.objectives.add(Metric.TTFT, 0.95, limit_s=1.0)
    PastTraffic(store, monkeypatch).runs(30, since=timedelta(minutes=50), ttft_s=5.0)
    observe_all(store, tmp_path, NOW)
    (alert,) = store.alerts.open()
    assert (alert.rule, alert.subject) == ("burn-fast", objective.id)  # of three rates the highest speaks
    store.objectives.remove(objective.id)
    observe_all(store, tmp_path, NOW)
    assert store.alerts.open() == ()
