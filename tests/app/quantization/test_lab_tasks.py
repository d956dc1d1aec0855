"""The lab's work on tasks and on one prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.background.jobs import JobCancelled
from app.quantization.lab import LabError, greedy_request
from app.quantization.prompt_check import PromptCheck, check_prompt
from app.quantization.tasks import measure_tasks
from app.runs.answers import answer_unkept
from app.store import LabStore, RunSource, RunStatus, RunStore
from engine import Engine, Task, load_tasks
from engine.errors import GearboxError
from engine.types import GenerationRequest, Precision
from tests.conftest import SMALL
from tests.support.evaluation import needs_sandbox
from tests.support.fakes import FakeLabEngine
from tests.support.quantization_lab import BOTH, MODEL, TASKS, ChoosyEngine, Reports


def test_tasks_are_answered_checked_and_kept(lab: LabStore) -> None:
    engine = FakeLabEngine()
    measure_tasks(engine, lab, MODEL, BOTH, TASKS, Reports())
    results = {result.precision: result for result in lab.task_results(MODEL)}
    assert results.keys() == {"bf16", "int4"}
    for result in results.values():
        assert {task: answer.right for task, answer in result.answers.items()} == {"t0": True, "t1": False}
    assert [request.config.precision for request in engine.requests] == ["bf16"] * 2 + ["int4"] * 2
    measure_tasks(engine, lab, MODEL, BOTH, TASKS, Reports())
    assert len(engine.requests) == 4


def test_cancelled_tasks_go_on_where_they_stopped(lab: LabStore) -> None:
    engine = FakeLabEngine()
    with pytest.raises(JobCancelled):
        measure_tasks(engine, lab, MODEL, BOTH, TASKS, Reports("int4 · task 2"))
    resumed = Reports()
    measure_tasks(engine, lab, MODEL, BOTH, TASKS, resumed)
    assert resumed.fractions[0] == pytest.approx(5 / 6)  # 16 bits count twice
    assert all(result.finished for result in lab.task_results(MODEL))


def test_an_answer_that_cannot_be_judged_counts_as_wrong_and_the_job_goes_on(lab: LabStore) -> None:
    endless = Task(
        id="slow", category="c", prompt="?", checker="regex", expected={"pattern": r"^(\w+\s?)+!$"}, max_tokens=64
    )
    engine, reports = FakeLabEngine(["word "] * 40 + ["."]), Reports()
    measure_tasks(engine, lab, MODEL, [Precision.BF16], [endless, TASKS[0]], reports)
    (result,) = lab.task_results(MODEL)
    assert {task: answer.right for task, answer in result.answers.items()} == {"slow": False, "t0": False}
    assert reports.stages[-1] == "Done. Counted as wrong: slow, where the pattern took longer than 2 s and was stopped"


@needs_sandbox
def test_no_answer_of_code_ends_the_job_for_the_others(lab: LabStore) -> None:
    right = "def f(x):\n    return 2 * x"
    say = "import os\nfor n in range(64):\n    try:\n        os.write(n, {!r})\n    except OSError:\n        pass\n"
    answers = {
        "walls": say.format(b"walls it lacks everything\n") + "os._exit(0)",
        "pass": say.format(b"passed") + "os._exit(0)",
        "equal": "class Yes:\n    __eq__ = lambda *_: True\ndef f(x):\n    return Yes()",
        "exit": "raise SystemExit",
        "end": "import os\nos.kill(0, 9)",
        "crash": "import ctypes\nctypes.string_at(0)",
        "memory": "x = [0] * 10**12",
        "bomb": "-" * 100_000 + "1",
        "long": "#" * 2_000_000,
        "NUL": f"{right}\0",
        "right": right,
    }
    expected = {"tests": "assert f(2) == 4", "entry": "f"}
    tasks = [
        Task(id=name, category="c", prompt=name, checker="code", expected=expected, max_tokens=8) for name in answers
    ]

    class Answering(FakeLabEngine):
        def says(self, request: GenerationRequest) -> tuple[str, ...]:
            return (answers[request.prompt],)

    measure_tasks(Answering(), lab, MODEL, [Precision.INT4], tasks, Reports())
    (result,) = lab.task_results(MODEL)
    assert result.finished
    assert {name for name, answer in result.answers.items() if answer.right} == {"right"}
    assert result.answers.keys() == answers.keys()


@pytest.mark.slow
def test_tasks_of_a_real_model_get_the_very_answers_that_each_gets_alone(engine: Engine, lab: LabStore) -> None:
    fit = [task for task in load_tasks() if task.checker != "code"]
    tasks = [replace(task, max_tokens=min(24, task.max_tokens)) for task in fit[:: len(fit) // 10][:10]]
    measure_tasks(engine, lab, SMALL, BOTH, tasks, Reports())
    for result in lab.task_results(SMALL):
        for task in tasks:
            alone = answer_unkept(engine, task.request(SMALL, Precision(result.precision)), lambda run: None)
            assert result.answers[task.id].text == alone.text


def test_a_task_that_the_model_cannot_take_is_not_right(lab: LabStore) -> None:
    tasks = (replace(TASKS[0], id="x", prompt="X"), *TASKS)
    measure_tasks(ChoosyEngine(), lab, MODEL, BOTH, tasks, Reports())
    for result in lab.task_results(MODEL):
        assert result.finished
        assert (result.answers["x"].text, result.answers["x"].right) == ("", False)
        assert result.answers["t0"].right


def checked(prompt: str = "Why?") -> PromptCheck:
    return PromptCheck(greedy_request(MODEL, Precision.INT4, prompt, max_tokens=16), "session")


def test_a_prompt_is_answered_kept_as_a_run_and_compared(store: RunStore) -> None:
    check, reports = checked(), Reports()
    check_prompt(FakeLabEngine(), store, check, reports)
    assert check.divergence is not None
    assert [token.flip for token in check.divergence.tokens] == [False, False, True, False, False, False]
    run = store.get(check.run_id or "")
    assert (run.status, run.text, run.precision, run.person_id, run.source) == (
        RunStatus.FINISHED,
        "The sky scatters blue light.",
        "int4",
        "session",
        RunSource.LAB,
    )
    assert reports.fractions == sorted(reports.fractions)


def test_a_cancelled_prompt_is_kept_as_a_stopped_run(store: RunStore) -> None:
    check = checked()
    with pytest.raises(JobCancelled):
        check_prompt(FakeLabEngine(), store, check, Reports("token 3"))
    run = store.get(check.run_id or "")
    assert (run.status, run.text) == (RunStatus.STOPPED, "The sky scatters")
    assert check.divergence is None


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        (FakeLabEngine(failure=GearboxError("The memory is full.")), "The memory is full"),
        (FakeLabEngine(tokens=()), "nothing to compare"),
    ],
)
def test_a_prompt_without_an_answer_says_why(store: RunStore, engine: FakeLabEngine, words: str) -> None:
    with pytest.raises(LabError, match=words):
        check_prompt(engine, store, checked(), Reports())
