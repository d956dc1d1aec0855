"""Each rule that comes with Gearbox fires on traffic with its fault, and not on the same traffic without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.operations.alerts.rules import SHIPPED
from app.operations.alerts.watch import findings
from app.quantization.corpus import measure_corpus
from app.store import Figure, Gear, Metric, RunStatus, RunStore
from engine import Corpus
from engine.types import CPU_PRECISIONS, Precision
from tests.support.cascading import make_cascade_report
from tests.support.fakes import FakeLabEngine, make_request
from tests.support.jobs import ignore
from tests.support.past_traffic import HIT, NOW, PastTraffic, disk_with_room

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DAY_BEFORE = {"since": 25 * HOUR, "until": HOUR}
LAST_HOUR = {"since": HOUR}
Play = Callable[[PastTraffic, bool], None]


@dataclass(frozen=True)
class Planted:
    """A rule's fault."""

    rule: str
    play: Play
    gear: Gear
    says: str


def _burn(last: timedelta, before: timedelta) -> Play:
    def play(traffic: PastTraffic, fault: bool) -> None:
        traffic.store.objectives.add(Metric.TTFT, 0.95, limit_s=1.0)
        traffic.runs(40, since=before, until=last)
        traffic.runs(40, since=last, ttft_s=3.0 if fault else 0.2)

    return play


def _errors(traffic: PastTraffic, fault: bool) -> None:
    traffic.runs(20, since=15 * MINUTE)
    traffic.runs(8 if fault else 1, since=10 * MINUTE, status=RunStatus.FAILED)


def _quality(traffic: PastTraffic, fault: bool) -> None:
    traffic.runs(30, since=8 * 24 * HOUR, until=25 * HOUR, rating=1)
    traffic.runs(3, since=8 * 24 * HOUR, until=25 * HOUR, rating=-1)
    traffic.runs(20, since=10 * HOUR, rating=1)
    traffic.runs(16 if fault else 2, since=10 * HOUR, rating=-1)


def _hit_rate(traffic: PastTraffic, fault: bool) -> None:
    traffic.runs(40, **DAY_BEFORE, prompt_tokens=100, cached_tokens=70)
    traffic.runs(20, **DAY_BEFORE, prompt_tokens=300, cached_tokens=150)
    traffic.runs(20, **LAST_HOUR, prompt_tokens=100, cached_tokens=0 if fault else 70)
    traffic.runs(20, **LAST_HOUR, prompt_tokens=300, cached_tokens=60 if fault else 150)


def _acceptance(traffic: PastTraffic, fault: bool) -> None:
    for accepted in (30, 36):
        traffic.runs(20, **DAY_BEFORE, verification_steps=12, accepted_tokens=accepted, drafted_tokens=48)
        lately = accepted - 18 if fault else accepted
        traffic.runs(20, **LAST_HOUR, verification_steps=12, accepted_tokens=lately, drafted_tokens=48)


def _escalations(traffic: PastTraffic, fault: bool) -> None:
    up = make_cascade_report(went_up=True, large_alone_s=0.5, derived=False)
    stayed = make_cascade_report(went_up=False, large_alone_s=0.5, derived=True)
    traffic.runs(15, **DAY_BEFORE, cascade=up)
    traffic.runs(45, **DAY_BEFORE, cascade=stayed)
    traffic.runs(30 if fault else 10, **LAST_HOUR, cascade=up)
    traffic.runs(10 if fault else 30, **LAST_HOUR, cascade=stayed)


def _repetition(traffic: PastTraffic, fault: bool) -> None:
    traffic.runs(58, **DAY_BEFORE, repetition=0.1)
    traffic.runs(2, **DAY_BEFORE, repetition=0.8)
    traffic.runs(28, **LAST_HOUR, repetition=0.1)
    traffic.runs(14 if fault else 2, **LAST_HOUR, repetition=0.8)


def _degraded(traffic: PastTraffic, fault: bool) -> None:
    engine, sea = FakeLabEngine(klds={"int4": 0.3, "nf4": 0.01}), Corpus(name="Sea", text="The sea, the sea.")
    measure_corpus(engine, traffic.store.lab, "smollm2-135m", CPU_PRECISIONS, sea, ignore)
    traffic.runs(40, **DAY_BEFORE, request=make_request(precision=Precision.NF4))
    lately = make_request(precision=Precision.INT4 if fault else Precision.NF4)
    traffic.runs(40, **LAST_HOUR, request=lately)


def _stale(traffic: PastTraffic, fault: bool) -> None:
    traffic.runs(3, **LAST_HOUR, cached_tokens=8, cache=replace(HIT, verified=True))
    traffic.runs(1, **LAST_HOUR, cached_tokens=8, cache=replace(HIT, verified=not fault))


def _disk(traffic: PastTraffic, fault: bool) -> None:
    disk_with_room(traffic.patch, 5 if fault else 40)


FAULTS = (
    Planted("burn-fast", _burn(HOUR, 4 * HOUR), Gear.MACHINE, "40 of 40 requests"),
    Planted("burn-medium", _burn(6 * HOUR, 20 * HOUR), Gear.MACHINE, "in the last 6 h"),
    Planted("burn-slow", _burn(72 * HOUR, 90 * HOUR), Gear.MACHINE, "in the last 3 d"),
    Planted("errors", _errors, Gear.MACHINE, "8 of 28 runs"),
    Planted("quality", _quality, Gear.PRECISION, "16 of 36 runs"),
    Planted("hit-rate", _hit_rate, Gear.KV_CACHE, "15 % (40 runs)"),
    Planted("acceptance", _acceptance, Gear.SPECULATION, "2.25 tokens"),
    Planted("escalations", _escalations, Gear.CASCADE, "75 % (30 of 40 runs)"),
    Planted("repetition", _repetition, Gear.PRECISION, "14 of 42 runs"),
    Planted("degraded", _degraded, Gear.PRECISION, "100 % (40 of 40 runs)"),
    Planted("stale", _stale, Gear.KV_CACHE, "1 of 4 verified runs"),
    Planted("disk", _disk, Gear.MACHINE, "95 % full: 5.00 GiB left"),
)


@pytest.fixture
def traffic(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> PastTraffic:
    return PastTraffic(store, monkeypatch)


def test_every_rule_has_its_fault() -> None:
    assert [fault.rule for fault in FAULTS] == [rule.key for rule in SHIPPED]
    assert all(rule.is_on and rule.runbook for rule in SHIPPED)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.rule)
def test_a_rule_fires_on_its_fault(fault: Planted, traffic: PastTraffic, tmp_path: Path) -> None:
    fault.play(traffic, True)
    firing = {found.rule: found for found in findings(traffic.store, tmp_path, NOW) if found.holds}
    assert fault.rule in firing
    found = firing[fault.rule]
    assert fault.says in found.words
    assert found.gear is fault.gear
    of_budget = {rule.key for rule in SHIPPED if rule.figure is Figure.BURN}
    assert set(firing) <= {fault.rule, *(of_budget if fault.rule in of_budget else ())}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.rule)
def test_no_rule_fires_on_the_same_traffic_without_it(fault: Planted, traffic: PastTraffic, tmp_path: Path) -> None:
    fault.play(traffic, False)
    found = findings(traffic.store, tmp_path, NOW)
    assert [each.rule for each in found if each.holds] == []
    assert any(each.rule == fault.rule for each in found)
    assert all(each.holds is False for each in found if each.rule == fault.rule)
