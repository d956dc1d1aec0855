"""Values computed once each in the background: asked for, failed, tried again, let go."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.background.computed import Computed
from app.background.jobs import Jobs, JobState, Report
from engine.errors import GearboxError


def wait(jobs: Jobs) -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("job "):
            thread.join(10)


def counted(value: str, calls: list[str]) -> Callable[[Report], str]:
    def compute(_report: Report) -> str:
        calls.append(value)
        return value

    return compute


def test_a_value_is_computed_once_however_often_it_is_asked_for(jobs: Jobs) -> None:
    computed, calls, go_on = Computed[str](jobs), [], threading.Event()

    def compute(report: Report) -> str:
        report("Half", 0.5)
        assert go_on.wait(10)
        return counted("v", calls)(report)

    for _ in range(3):
        found = computed.ask("k", compute)
        assert isinstance(found, JobState)
        assert found.running
    assert computed.value("k") is None
    go_on.set()
    wait(jobs)
    assert [computed.ask("k", compute), computed.value("k"), calls] == ["v", "v", ["v"]]


def test_what_failed_stays_failed_until_it_is_started_again(jobs: Jobs) -> None:
    computed, calls = Computed[str](jobs), []

    def fail(_report: Report) -> str:
        raise GearboxError("No such model.")

    computed.ask("k", fail)
    wait(jobs)
    found = computed.ask("k", counted("v", calls))
    assert isinstance(found, JobState)
    assert (found.status, found.error, calls) == ("failed", "No such model.", [])
    assert computed.start("k", counted("v", calls))
    wait(jobs)
    assert computed.ask("k", fail) == "v"


def test_a_value_stands_until_another_has_come_out(jobs: Jobs) -> None:
    computed, go_on = Computed[str](jobs), threading.Event()

    def slowly(_report: Report) -> str:
        assert go_on.wait(10)
        return "new"

    computed.start("k", counted("old", []))
    wait(jobs)
    assert computed.start("k", slowly)
    assert not computed.start("k", slowly)
    assert (computed.value("k"), computed.ask("k", slowly)) == ("old", "old")
    go_on.set()
    wait(jobs)
    assert computed.value("k") == "new"


def test_the_latest_are_kept_and_what_was_let_go_is_computed_again(jobs: Jobs) -> None:
    computed, calls = Computed[str](jobs, most=2), []
    for key in ("a", "b", "a", "c"):
        computed.start(key, counted(key, calls))
        wait(jobs)
    assert [computed.value(key) for key in "abc"] == ["a", None, "c"]
    found = computed.ask("b", counted("b", calls))
    assert isinstance(found, JobState)
    wait(jobs)
    assert computed.ask("b", counted("b", calls)) == "b"
    assert calls == ["a", "b", "a", "c", "b"]
