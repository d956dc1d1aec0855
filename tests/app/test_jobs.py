"""Background jobs: one for each key, with progress, errors in the user's words, and cancelling."""

import threading

import pytest

from app.jobs import Jobs, JobState
from engine.errors import InstallError

KEY = "install tiny"


@pytest.fixture
def jobs():
    jobs = Jobs()
    yield jobs
    jobs.close()


class Work:
    """Goes on when told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()
        self.error = error

    def __call__(self, report):
        report("Halfway", 0.5)
        self.started.set()
        assert self.go_on.wait(10)
        report("Almost", 0.9)
        if self.error:
            raise self.error


def test_no_job_has_no_state(jobs):
    assert jobs.state(KEY) is None


def test_a_job_says_how_far_it_is_and_that_it_is_done(jobs):
    work = Work()
    assert jobs.submit(KEY, work)
    assert work.started.wait(10)
    assert jobs.state(KEY) == JobState("running", "Halfway", 0.5)
    work.go_on.set()
    wait_until_ended(jobs)
    assert jobs.state(KEY) == JobState("done", "Almost", 0.9)


def test_the_time_left_follows_from_the_pace_so_far(monkeypatch):
    state = JobState("running", "Halfway", 0.25, begun=100.0)
    monkeypatch.setattr("app.jobs.monotonic", lambda: 110.0)
    assert state.remaining_s == pytest.approx(30)
    assert JobState("running", "Starting", 0.001, begun=100.0).remaining_s is None
    assert JobState("done", "Ready", 1.0, begun=100.0).remaining_s is None


def test_a_job_that_goes_on_reckons_its_pace_from_where_it_began(monkeypatch):
    monkeypatch.setattr("app.jobs.monotonic", lambda: 110.0)
    resumed = JobState("running", "Goes on", 0.75, begun=100.0, begun_at=0.5)
    assert resumed.remaining_s == pytest.approx(10)
    assert JobState("running", "Goes on", 0.51, begun=100.0, begun_at=0.5).remaining_s is None


def test_the_fraction_first_reported_is_where_a_job_began(jobs):
    work = Work()
    jobs.submit(KEY, work)
    assert work.started.wait(10)
    assert jobs.state(KEY).begun_at == 0.5
    assert jobs.state(KEY).remaining_s is None
    work.go_on.set()
    wait_until_ended(jobs)
    assert jobs.state(KEY).begun_at == 0.5


def test_a_second_job_of_the_same_key_is_not_started(jobs):
    work = Work()
    jobs.submit(KEY, work)
    assert not jobs.submit(KEY, work)
    assert jobs.submit("another", work)
    work.go_on.set()
    wait_until_ended(jobs)
    assert jobs.submit(KEY, work)


def test_an_error_for_the_user_is_shown_as_it_is(jobs):
    work = Work(InstallError("The disk is full."))
    work.go_on.set()
    jobs.submit(KEY, work)
    wait_until_ended(jobs)
    assert jobs.state(KEY) == JobState("failed", "Almost", 0.9, "The disk is full.")


def test_a_defect_is_logged_and_shown_as_one(jobs, caplog):
    work = Work(ZeroDivisionError("oops"))
    work.go_on.set()
    jobs.submit(KEY, work)
    wait_until_ended(jobs)
    assert "Unexpected error: ZeroDivisionError" in jobs.state(KEY).error
    assert "ZeroDivisionError" in caplog.text


def test_cancelling_ends_the_work_at_its_next_report(jobs):
    work = Work()
    jobs.submit(KEY, work)
    assert work.started.wait(10)
    jobs.cancel(KEY)
    work.go_on.set()
    wait_until_ended(jobs)
    assert jobs.state(KEY) == JobState("cancelled", "Halfway", 0.5)


def wait_until_ended(jobs: Jobs) -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("job "):
            thread.join(10)
    assert not jobs.state(KEY).running


def test_closing_ends_what_runs(jobs):
    work = Work()
    jobs.submit(KEY, work)
    assert work.started.wait(10)
    threading.Timer(0.05, work.go_on.set).start()
    jobs.close()
    assert jobs.state(KEY).status == "cancelled"
