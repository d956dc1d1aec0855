"""Many answers a few at a time: how many, in whose thread, and how it ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.background.jobs import JobCancelled
from app.runs.answers import RequestRefusedError, RunNotFinishedError, answer_unkept
from app.runs.live_run import LiveRun
from app.runs.together import Watch, answered_together
from engine import Engine, load_tasks
from engine.errors import ContextLengthError, GearboxError
from engine.types import GenerationRequest, Loading, Precision
from tests.conftest import REPOSITORY, SMALL
from tests.support.fakes import FakeEngine, make_request


def go_on(loading: Loading | None) -> None:
    """Wants no end."""


def ask(engine: FakeEngine, prompt: str, watch: Watch) -> LiveRun:
    return answer_unkept(engine, make_request(prompt), watch)


class Picky(FakeEngine):
    """Refuses what holds an X, and breaks at what holds a B."""

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        if "X" in request.prompt:
            return ContextLengthError(9000, 8192)
        return GearboxError("The memory is full.") if "B" in request.prompt else None

    def says(self, request: GenerationRequest) -> tuple[str, ...]:
        return (request.prompt.upper(),)


def all_closed(engine: FakeEngine) -> bool:
    return all(generation.over for generation in engine.generations)


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 8))
def test_each_is_given_its_own_result_and_never_more_than_so_many_are_under_way(
    pauses_ms: list[int], at_once: int
) -> None:
    lock, under_way, most, drawn = threading.Lock(), 0, 0, 0

    def asked() -> Iterator[tuple[int, int]]:
        nonlocal drawn
        for pause_ms in pauses_ms:
            drawn += 1
            yield drawn, pause_ms

    def work(item: tuple[int, int], watch: Watch) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(item[1] / 1000)
        with lock:
            under_way -= 1
        return item[0] * 10

    found, threads = {}, set()
    with answered_together(asked(), work, go_on, at_once=at_once) as answers:
        for item, result in answers:
            found[item[0]] = result
            threads.add(threading.current_thread())
            assert drawn <= len(found) + 2 * at_once, "those under way, and those that ended at once"
    assert found == {n: n * 10 for n in range(1, len(pauses_ms) + 1)}
    assert most <= at_once
    assert threads <= {threading.current_thread()}


def test_nothing_is_asked_where_there_is_nothing() -> None:
    with answered_together((), partial(ask, FakeEngine()), go_on) as answers:
        assert list(answers) == []


def test_a_refusal_is_the_result_of_its_own_request_alone() -> None:
    engine, prompts = Picky(), [f"{'X' if n % 3 == 0 else 'p'}{n}" for n in range(9)]
    with answered_together(prompts, partial(ask, engine), go_on, at_once=4) as answers:
        found = dict(answers)
    assert found.keys() == set(prompts)
    for prompt, run in found.items():
        assert isinstance(run, RequestRefusedError) if "X" in prompt else run.text == prompt.upper()


def test_a_failure_ends_all_and_what_was_answered_before_it_is_given() -> None:
    gate = threading.Event()
    engine = Picky(gate=gate)
    # one word, so that none waits at the gate but those of two
    engine.says = lambda request: request.prompt.split()  # type: ignore[method-assign]
    found = []
    prompts = ["p1", "w 1", "w 2", "B", "never"]
    with answered_together(prompts, partial(ask, engine), go_on, at_once=3) as answers:
        found.append(next(answers)[0])
        with pytest.raises(RunNotFinishedError, match="The memory is full"):
            found.extend(prompt for prompt, _ in answers)
    assert found == ["p1"]
    assert all_closed(engine)
    assert "never" not in {request.prompt for request in engine.requests}


@pytest.mark.parametrize("where", ["reading", "waiting"])
def test_whoever_ends_it_in_the_middle_leaves_nothing_under_way(where: str) -> None:
    gate = threading.Event()  # nobody gets beyond the first token
    engine = FakeEngine(gate=gate) if where == "waiting" else FakeEngine(delay_s=0.01)
    looks = 0

    def end_soon(loading: Loading | None) -> None:
        nonlocal looks
        looks += 1
        if where == "waiting" and looks == 2:
            raise JobCancelled

    def read() -> None:
        with answered_together(map(str, range(1, 100)), partial(ask, engine), end_soon, at_once=4) as answers:
            next(answers)
            raise JobCancelled

    with pytest.raises(JobCancelled):
        read()
    assert all_closed(engine)
    assert len(engine.requests) <= 8
    for thread in [thread for thread in threading.enumerate() if thread.name == "together"]:
        thread.join(20)
        assert not thread.is_alive()


def test_those_under_way_go_on_while_a_slow_reader_has_not_taken_the_first() -> None:
    engine = FakeEngine()
    with answered_together(map(str, range(1, 30)), partial(ask, engine), go_on, at_once=3) as answers:
        next(answers)
        until = time.monotonic() + 20
        while not all_closed(engine) or len(engine.requests) < 4:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert len(engine.requests) <= 6
        assert len(list(answers)) == 28


def test_a_process_that_ends_waits_for_nothing_that_is_under_way() -> None:
    script = """
import threading
from app.background.jobs import Jobs
from tests.app.runs.test_together import FakeEngine, answered_together, ask, partial
engine, begun = FakeEngine(gate=threading.Event()), threading.Event()
def work(report):
    with answered_together(["a", "b"], partial(ask, engine), lambda loading: begun.set()) as answers:
        list(answers)
Jobs().submit("job", work)
assert begun.wait(20)
"""
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, env={"PYTHONPATH": "."}, check=True, timeout=60)


def test_what_is_loaded_for_any_of_them_is_told() -> None:
    told: list[Loading | None] = []
    engine = FakeEngine(queued=[1])

    def slowly(prompt: str, watch: Watch) -> LiveRun:
        def watched(run: LiveRun) -> None:
            watch(run)
            if run.loading_now:
                time.sleep(0.5)

        return answer_unkept(engine, make_request(prompt), watched)

    with answered_together(["a", "b"], slowly, told.append) as answers:
        assert len(list(answers)) == 2
    assert "Loading the fake model" in {loading.stage for loading in told if loading}


def test_tokens_of_a_real_model_are_those_that_each_has_alone(engine: Engine) -> None:
    requests = {task.id: task.request(SMALL, Precision.INT4) for task in load_tasks()[:12]}

    def real(task_id: str, watch: Callable[[LiveRun], object]) -> LiveRun:
        return answer_unkept(engine, requests[task_id], watch)

    alone = {task_id: real(task_id, go_on).token_ids for task_id in requests}
    with answered_together(requests, real, go_on) as answers:
        together = {task_id: run.token_ids for task_id, run in answers if isinstance(run, LiveRun)}
    assert together == alone
