"""Alerts, rules, channels and the lease as each database keeps them."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from app.store import (
    AlertState,
    Condition,
    DeliveryState,
    EventKind,
    Figure,
    Finding,
    Gear,
    GoneError,
    Metric,
    Rule,
    RunSource,
    RunStore,
    Scope,
    StoreError,
)
from app.store.database.errors import ConflictError
from app.store.database.identity import now
from tests.support.past_traffic import NOW

MINUTE = timedelta(minutes=1)
SCOPE = Scope(model="m", source=RunSource.API, config_hash="abc")
FINDING = Finding(
    rule="errors",
    subject="",
    holds=True,
    title="Runs fail · m",
    words="8 of 28 runs.",
    gear=Gear.KV_CACHE,
    runbook="Look.\nMend.",
    scope=SCOPE,
    since=NOW - MINUTE,
    until=NOW,
)
RULE = Rule(
    key="mine",
    name="Mine",
    figure=Figure.HIT_RATE,
    condition=Condition.FALLS,
    limit=0.3,
    window=60 * MINUTE,
    reference=1440 * MINUTE,
    least=20,
    scope=SCOPE,
    runbook="Look.",
)


def test_an_alert_is_kept_with_all_that_was_found_and_its_history(store: RunStore) -> None:
    alerts = store.alerts
    assert alerts.observe(replace(FINDING, holds=False)) is None
    opened = alerts.observe(FINDING, NOW)
    assert opened is not None
    assert alerts.get(opened.id) == opened
    assert (opened.scope, opened.gear, opened.runbook) == (SCOPE, Gear.KV_CACHE, "Look.\nMend.")
    assert opened.runs == SCOPE.runs(NOW - MINUTE, NOW)
    alerts.acknowledge(opened.id, "anna")
    alerts.silence(opened.id, now() + 60 * MINUTE, "anna")
    assert alerts.get(opened.id).state(now()) is AlertState.SILENCED
    grown = alerts.observe(replace(FINDING, words="9 of 29 runs.", until=NOW + MINUTE), NOW + MINUTE)
    assert grown is not None
    assert (grown.words, grown.runs_until) == ("9 of 29 runs.", NOW + MINUTE)
    assert [each.id for each in alerts.open()] == [opened.id]
    alerts.observe(replace(FINDING, holds=False), NOW + 2 * MINUTE)
    ended = alerts.observe(replace(FINDING, holds=False), NOW + 8 * MINUTE)
    assert ended is not None
    assert ended.resolved_at == NOW + 8 * MINUTE
    assert alerts.open() == ()
    events = alerts.events([opened.id])
    assert [(event.what, event.person) for event in events] == [
        (EventKind.FIRED, None),
        (EventKind.ACKNOWLEDGED, "anna"),
        (EventKind.SILENCED, "anna"),
        (EventKind.RESOLVED, None),
    ]
    again = alerts.observe(FINDING, NOW + 9 * MINUTE)
    assert again is not None
    assert again.silenced_until is not None  # the silence of the one before goes on
    assert [each.id for each in alerts.history()] == [again.id, opened.id]
    with pytest.raises(GoneError):
        alerts.get("nobody's")


def test_rules_are_kept_changed_and_dropped(store: RunStore) -> None:
    store.alerts.keep_rule(RULE)
    store.alerts.keep_rule(replace(RULE, name="  Mine \n too ", is_on=False))
    assert store.alerts.rules() == (replace(RULE, name="Mine too", is_on=False),)
    store.alerts.drop_rule("mine")
    assert store.alerts.rules() == ()


def test_a_switch_changes_nothing_else_of_a_rule(store: RunStore) -> None:
    alerts = store.alerts
    alerts.switch_rule("mine", on=False, shipped=RULE)
    assert alerts.rules() == (replace(RULE, is_on=False),)
    changed = replace(RULE, limit=0.5, runbook="Call Anna.", is_on=False)
    alerts.keep_rule(changed)
    alerts.switch_rule("mine", on=True, shipped=RULE)
    assert alerts.rules() == (replace(changed, is_on=True),)
    alerts.drop_rule("mine")
    with pytest.raises(GoneError):
        alerts.switch_rule("mine", on=True)
    assert alerts.rules() == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"name": " "},
        {"name": "x" * 81},
        {"window": timedelta(0)},
        {"reference": timedelta(0)},
        {"limit": -1.0},
        {"limit": float("nan")},
        {"least": 0},
        {"percentile": 1.0},
        {"figure": Figure.BURN, "condition": Condition.ABOVE, "reference": 60 * MINUTE},
    ],
)
def test_a_rule_that_can_never_be_judged_is_refused(store: RunStore, changed: dict[str, object]) -> None:
    with pytest.raises(ConflictError):
        store.alerts.keep_rule(replace(RULE, **changed))  # type: ignore[arg-type]
    assert store.alerts.rules() == ()


def test_each_channel_that_is_on_gets_each_message_once(store: RunStore) -> None:
    channels = store.alerts.channels
    told, silent = channels.add("told", "JSON", "json://a"), channels.add("silent", "JSON", "json://b")
    channels.switch(silent, on=False)
    for minutes in range(3):
        store.alerts.observe(FINDING, NOW + minutes * MINUTE)
    (errand,) = channels.claim()
    assert (errand.delivery.channel_id, errand.url) == (told, "json://a")
    assert errand.alert is not None
    assert errand.event is not None
    assert errand.event.what is EventKind.FIRED
    assert "json://a" not in repr(errand)
    assert channels.claim() == ()
    channels.settle(errand.delivery, None)
    channels.settle(errand.delivery, "too late")
    assert [each.last and each.last.state for each in channels.all()] == [DeliveryState.SENT, None]
    channels.remove(told)
    assert channels.deliveries() == ()
    assert len(store.alerts.history()) == 1


def test_that_it_is_resolved_is_told_only_after_that_it_fires(store: RunStore) -> None:
    channels = store.alerts.channels
    channels.add("told", "JSON", "json://a")
    opened = store.alerts.observe(FINDING, NOW)
    assert opened is not None
    (fired,) = channels.claim(NOW)
    for minutes in (1, 7):
        store.alerts.observe(replace(FINDING, holds=False), NOW + minutes * MINUTE)
    store.alerts.observe(replace(FINDING, rule="other"), NOW)
    (other,) = channels.claim(NOW + 8 * MINUTE, without=())[:1]
    assert other.event is not None
    assert other.event.what is EventKind.FIRED
    channels.settle(fired.delivery, "not now", NOW + 8 * MINUTE)
    later = NOW + 60 * MINUTE
    again = [errand for errand in channels.claim(later) if errand.alert and errand.alert.id == opened.id]
    assert [errand.event and errand.event.what for errand in again] == [EventKind.FIRED]
    channels.settle(fired.delivery, None, later)  # of a try before this one: nothing changes
    assert {each.state for each in channels.deliveries() if each.id == fired.delivery.id} == {DeliveryState.SENDING}
    channels.settle(again[0].delivery, None, later)
    (end,) = [errand for errand in channels.claim(later) if errand.alert and errand.alert.id == opened.id]
    assert end.event is not None
    assert end.event.what is EventKind.RESOLVED


def test_a_channel_needs_a_name_of_its_own(store: RunStore) -> None:
    store.alerts.channels.add(" on \n call ", "JSON", "json://a")
    for name in ("", "on call"):
        with pytest.raises(StoreError):
            store.alerts.channels.add(name, "JSON", "json://a")
    with pytest.raises(GoneError):
        store.alerts.channels.test("nobody's")


def test_servers_that_see_one_thing_at_a_time_open_one_alert(store: RunStore) -> None:
    store.alerts.channels.add("told", "JSON", "json://a")
    barrier = threading.Barrier(4)
    claimed: list[str] = []

    def look() -> None:
        barrier.wait(20)
        with suppress(ConflictError):  # another one was first
            store.alerts.observe(FINDING)
        barrier.wait(20)
        claimed.extend(errand.delivery.id for errand in store.alerts.channels.claim())

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(store.alerts.open()) == 1
    assert len(claimed) == 1


def test_silence_is_ended_and_what_is_resolved_stays_so(store: RunStore) -> None:
    opened = store.alerts.observe(FINDING)
    assert opened is not None
    store.alerts.silence(opened.id, now() + 60 * MINUTE, None)
    assert store.alerts.silence(opened.id, now(), None).state(now()) is AlertState.FIRING
    assert store.alerts.close(opened.id, "Its rule was deleted.").state(now()) is AlertState.RESOLVED
    assert store.alerts.acknowledge(opened.id, None).acknowledged_at is None
    assert store.objectives.add(Metric.ERRORS, 0.9).limit_s is None
