"""Who is next."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from engine.passes import Steps
from engine.serving.scheduling.jobs import Job
from engine.serving.scheduling.line import WaitingLine


@dataclass(eq=False)
class Asked(Job):
    session: str = ""
    exclusive: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def steps(self) -> Steps[None]:
        yield from ()

    def refuse(self) -> None: ...

    def fail(self, error: BaseException) -> None: ...


def line_of(*jobs: Job, most_running: int = 4) -> WaitingLine:
    line = WaitingLine(most_running)
    for job in jobs:
        line.add(job)
    return line


def begun(line: WaitingLine, running: list[Job]) -> list[Job]:
    """Who begins until nobody may."""
    found: list[Job] = []
    while (job := line.next([*running, *found])) is not None:
        found.append(job)
    return found


def test_first_come_is_first_served() -> None:
    jobs = [Asked(f"session {i}") for i in range(3)]
    assert begun(line_of(*jobs), []) == jobs


def test_no_more_run_than_may_and_the_rest_is_told_why() -> None:
    jobs = [Asked(str(i)) for i in range(3)]
    line = line_of(*jobs, most_running=2)
    assert begun(line, []) == jobs[:2]
    (place,) = line.places(jobs[:2])
    assert place.job is jobs[2]
    assert place.reason == "2 requests are running, as many as may run at once."


def test_nobodys_second_request_goes_before_anothers_first() -> None:
    mine, theirs = [Asked("mine") for _ in range(10)], Asked("theirs")
    line = line_of(*mine, theirs, most_running=1)
    first = line.next([])
    assert first is mine[0]
    assert line.next([]) is mine[1], "nobody of that session runs any more, and this one came before"
    assert line.next([mine[1]]) is None
    assert next(place.job for place in line.places([mine[1]])) is theirs


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 5))
def test_a_request_waits_for_at_most_as_many_of_every_other_session_as_came_before_of_its_own(
    sessions: list[str], most: int
) -> None:
    jobs = [Asked(session) for session in sessions]
    order = [place.job for place in line_of(*jobs, most_running=most).places([])]
    assert sorted(order, key=jobs.index) == jobs
    for place, job in enumerate(order):
        own = sum(other.session == job.session for other in jobs[: jobs.index(job)])
        for session in set(sessions) - {job.session}:
            assert sum(other.session == session for other in order[:place]) <= own + 1


def test_one_that_is_to_be_alone_waits_for_the_others_and_they_for_it() -> None:
    runs, alone, later = Asked("a"), Asked("b", exclusive=True), Asked("c")
    line = line_of(alone, later)
    assert line.next([runs]) is None
    assert [place.reason for place in line.places([runs])] == [
        "Its times are compared, so it waits to have the engine alone: 1 request is still running.",
        "1 request is before it.",
    ]
    assert line.next([]) is alone
    assert line.next([alone]) is None
    assert line.places([alone])[0].reason == "Another request has the engine alone: its times are compared."
    assert line.next([]) is later


def test_a_race_waits_for_those_of_a_large_job_that_run_and_for_no_more_of_them() -> None:
    running: list[Job] = [Asked("job") for _ in range(8)]
    lane, chat = Asked("person", exclusive=True), Asked("somebody else")
    line = line_of(lane, chat, most_running=16)
    while running:
        assert line.next(running) is None
        running.pop()
        line.add(Asked("job"))  # as each ends, the job asks for the next
    assert line.next(running) is lane
    assert line.next([lane]) is None
    assert line.next([]) is chat
    assert all(job.session == "job" for job in begun(line, [chat]))
