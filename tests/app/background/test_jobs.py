"""Background jobs: one for each key, with progress, errors in the user's words, and cancelling."""

import threading

import pytest

from app.background.jobs import Jobs, JobState, Steps
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


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("app.background.jobs.monotonic", clock)
    return clock


def test_the_time_left_is_by_the_pace_of_the_steps_and_not_by_the_loading_before_them(jobs, clock):
    seen = []

    def work(report):
        steps = Steps(report, done=0, total=20)
        steps.at("First")
        for loaded in (0.2, 0.6):
            steps.loading("Loading", loaded)
            clock.now += 17.5
            seen.append(jobs.state(KEY))
        for _ in range(19):
            steps.at("Answering")
            clock.now += 2.0
            steps.advance()
            steps.at("Answering")
            seen.append(jobs.state(KEY).remaining_s)

    jobs.submit(KEY, work)
    wait_until_ended(jobs)
    (first, second), left = seen[:2], seen[2:]
    assert [(state.stage, state.fraction, state.loading) for state in (first, second)] == [
        ("Loading", 0.0, 0.2),
        ("Loading", 0.0, 0.6),
    ]
    assert left[:3] == [None, None, None]
    assert left[3:] == pytest.approx([2.0 * (20 - done) for done in range(4, 20)])


def test_a_job_that_goes_on_reckons_its_pace_from_where_it_began(jobs, clock):
    seen = []

    def work(report):
        for done in range(50, 60):
            report("Goes on", done / 100)
            seen.append(jobs.state(KEY).remaining_s)
            clock.now += 3.0

    jobs.submit(KEY, work)
    wait_until_ended(jobs)
    assert seen[:4] == [None] * 4
    assert seen[4:] == pytest.approx([3.0 * (100 - done) for done in range(54, 60)])


def test_a_job_that_is_over_has_no_time_left(jobs, clock):
    def work(report):
        for done in range(10):
            report("On", done / 20)
            clock.now += 1.0

    jobs.submit(KEY, work)
    wait_until_ended(jobs)
    assert jobs.state(KEY).remaining_s is None


# --- what people are told of ------------------------------------------------------------------------


def test_only_jobs_with_a_title_are_told_of_and_with_whose_they_are(jobs):
    work = Work()
    jobs.submit("hidden", work)
    jobs.submit(KEY, work, title="Installing", owner="me", page="models")
    (job,) = jobs.told()
    assert (job.key, job.title, job.owner, job.page, job.state.running) == (KEY, "Installing", "me", "models", True)
    work.go_on.set()


def test_those_that_run_come_first_and_those_over_are_forgotten_after_a_while(jobs, clock):
    gate = threading.Event()
    jobs.submit("runs", lambda report: gate.wait(20), title="Runs")
    for key in ("first", "second"):
        jobs.submit(key, lambda report: None, title=key)
        jobs._threads[key].join(10)
        clock.now += 60
    assert [job.key for job in jobs.told()] == ["runs", "second", "first"]
    clock.now += 520
    assert [job.key for job in jobs.told()] == ["runs", "second"]
    clock.now += 10_000
    assert [job.key for job in jobs.told()] == ["runs"]
    gate.set()


def end_one(jobs):
    jobs.submit(KEY, lambda report: None, title="Installing", owner="me")
    wait_until_ended(jobs)


def test_the_end_of_a_job_is_news_to_others_for_a_few_minutes_and_to_its_owner_for_longer(jobs, clock):
    end_one(jobs)
    clock.now += 179
    assert [[job.key for job in jobs.news(person)] for person in ("me", "another")] == [[KEY], [KEY]]
    clock.now += 2
    assert [[job.key for job in jobs.news(person)] for person in ("me", "another")] == [[KEY], []]
    clock.now += 420
    assert jobs.news("me") == ()


def test_what_runs_is_no_news(jobs):
    work = Work()
    jobs.submit(KEY, work, title="Installing", owner="me")
    assert jobs.news("me") == ()
    work.go_on.set()


def test_who_saw_the_end_of_a_job_hears_of_it_again_only_where_it_was_started_anew(jobs, clock):
    end_one(jobs)
    (old,) = jobs.news("me")
    jobs.saw(old, "me")
    assert jobs.news("me") == ()
    assert jobs.news("another") == (old,)
    clock.now += 5
    end_one(jobs)
    jobs.saw(old, "me")  # from a tab that still showed the old one
    assert [job.key for job in jobs.news("me")] == [KEY]


def test_a_job_that_was_asked_to_stop_says_so_until_it_has(jobs):
    work = Work()
    jobs.submit(KEY, work, title="Work")
    assert work.started.wait(10)
    assert not jobs.state(KEY).cancelling
    jobs.cancel(KEY)
    assert jobs.state(KEY).cancelling
    assert jobs.state(KEY).running
    work.go_on.set()
    wait_until_ended(jobs)
    assert jobs.state(KEY).status == "cancelled"
    assert jobs.submit(KEY, work)
    assert not jobs.state(KEY).cancelling


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
