"""What is done in idle time is done even where one duty is broken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.background.jobs import Jobs
from app.operations.idle.duties import Due, IdleWork
from engine.errors import GearboxError
from tests.support.fakes import FakeLabEngine


@dataclass
class Done:
    """A duty that has something to do once, or fails."""

    key: str
    error: Exception | None = None
    page = ""
    looked_at = 0

    def due(self) -> Due | None:
        self.looked_at += 1
        if self.error:
            raise self.error
        return Due(lambda report: None, "Done")


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.close()


@pytest.mark.parametrize("error", [KeyError("a mistake"), GearboxError("The database is locked.")])
def test_a_broken_duty_keeps_no_other_from_being_done_and_is_logged_once(
    jobs: Jobs, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = Done("broken", error), Done("sound")
    work = IdleWork(jobs, FakeLabEngine, lambda: [broken, sound], quiet_s=0, look_every_s=3600)
    try:
        with caplog.at_level(logging.WARNING):
            assert work.look()
            jobs.close()
            work.look()
    finally:
        work.close()
    assert broken.looked_at == 2
    (record,) = [each for each in caplog.records if "broken" in each.getMessage()]
    assert (record.exc_info is None) == isinstance(error, GearboxError)


def test_the_thread_outlives_an_unexpected_error(jobs: Jobs) -> None:
    again = threading.Event()
    asked = []

    def engine() -> FakeLabEngine:
        asked.append(1)
        if len(asked) > 1:
            again.set()
        raise RuntimeError("nobody expects it")

    work = IdleWork(jobs, engine, list, look_every_s=0.001)
    try:
        assert again.wait(10)
    finally:
        work.close()
