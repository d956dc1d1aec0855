"""The scored tasks that come with Gearbox, and how a task file is read."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from engine.errors import InvalidRequestError
from engine.evaluation import MIXED_FILE, Task, check, load_tasks
from engine.evaluation.scorers import CHECKERS
from engine.types import Precision
from tests.support.evaluation import needs_sandbox

TASKS = load_tasks()
MIXED = load_tasks(MIXED_FILE)
TASK = Task(id="a", category="Facts", prompt="?", checker="exact", expected="yes", max_tokens=8)


def right_answer(task: Task) -> str:
    expected = task.expected
    match task.checker:
        case "choice":
            return str(expected["answer"])
        case "regex":
            return str(expected["example"])
        case "json":
            return json.dumps(expected)
        case "schema":
            return json.dumps(expected["example"])
        case _:
            return str(expected[0] if isinstance(expected, list) else expected)


def test_there_are_enough_and_of_every_kind() -> None:
    assert len(TASKS) >= 80
    assert len({task.prompt for task in TASKS}) == len(TASKS)
    categories = Counter(task.category for task in TASKS)
    assert len(categories) == 7
    assert min(categories.values()) >= 8
    assert len({task.checker for task in TASKS}) == 6
    assert all(8 <= task.max_tokens <= 48 for task in TASKS)


def test_prompts_are_varied() -> None:
    openings = Counter(" ".join(re.findall(r"\w+", task.prompt.casefold())[:2]) for task in TASKS)
    (_, most), *_ = openings.most_common(1)
    assert most <= len(TASKS) / 10


def test_the_mixed_set_is_large_and_of_every_kind() -> None:
    assert len(MIXED) >= 420
    assert len({task.prompt for task in (*MIXED, *TASKS)}) == len(MIXED) + len(TASKS)
    assert {task.checker for task in MIXED} == set(CHECKERS)
    categories = Counter(task.category for task in MIXED)
    assert len(categories) == 7
    assert min(categories.values()) >= 40
    assert all(8 <= task.max_tokens <= 160 for task in MIXED)
    assert sum(len(task.prompt.split()) >= 150 for task in MIXED) >= 20


def test_at_most_a_tenth_of_the_mixed_set_is_of_one_template() -> None:
    assert all(task.template for task in MIXED)
    (_, most), *_ = Counter(task.template for task in MIXED).most_common(1)
    assert most <= len(MIXED) / 10
    openings = Counter(" ".join(re.findall(r"\w+", task.prompt.casefold())[:2]) for task in MIXED)
    (_, most), *_ = openings.most_common(1)
    assert most <= len(MIXED) / 10


@pytest.mark.parametrize(
    "task", [*TASKS, *(task for task in MIXED if task.checker != "code")], ids=lambda task: task.id
)
def test_a_right_answer_passes_and_a_wrong_one_fails(task: Task) -> None:
    assert check(task, right_answer(task))
    assert check(task, f" {right_answer(task)}\n")
    assert not check(task, "I am sorry, I cannot help with that.")
    assert not check(task, "")
    if task.checker == "number":
        assert not check(task, str(task.expected + 1))
    if task.checker == "choice":
        others = [chr(ord("A") + i) for i in range(len(task.expected["options"]))]
        assert [letter for letter in others if check(task, letter)] == [task.expected["answer"]]
        assert check(task, task.expected["options"][others.index(task.expected["answer"])])


@needs_sandbox
@pytest.mark.parametrize(
    "task", [task for task in MIXED if task.checker == "code"], ids=lambda task: task.id.removeprefix("code-")
)
def test_tests_of_code_can_run_and_can_fail(task: Task) -> None:
    entry = task.expected["entry"]
    assert entry in task.prompt
    compile(task.expected["tests"], task.id, "exec")
    assert task.expected["tests"].count("assert ") >= 2
    assert not check(task, f"def {entry}(*arguments):\n    return None")


@pytest.mark.parametrize("task", [*TASKS, *MIXED], ids=lambda task: task.id)
def test_the_prompt_repeated_is_no_answer(task: Task) -> None:
    if task.checker in ("exact", "json", "choice", "schema"):
        assert not check(task, task.prompt)


def test_a_task_is_a_greedy_run() -> None:
    request = TASK.request("smollm2-135m", Precision.INT4)
    assert request.prompt == "?"
    assert request.config.precision is Precision.INT4
    assert request.config.sampling.temperature == 0
    assert request.config.sampling.max_tokens == 8


def test_a_file_is_read_in_order_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [json.dumps(asdict(replace(TASK, id=name))) for name in ("b", "a")]
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    assert [task.id for task in load_tasks(path)] == ["b", "a"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (json.dumps(asdict(TASK)) + "\n" + json.dumps(asdict(TASK)), "Line 2: .* 'a'"),
        (json.dumps(asdict(TASK) | {"checker": "guess"}), "Line 1: .* 'guess'"),
        (json.dumps(asdict(TASK) | {"colour": 1}), "Line 1: .*colour"),
        ("{", "Line 1"),
        ("[1]", "Line 1"),
        ("[" * 100_000, "Line 1: not JSON"),
        (json.dumps(asdict(TASK) | {"id": []}), "Line 1: .*id must be a text"),
        (json.dumps(asdict(TASK) | {"max_tokens": "8"}), "Line 1: .*whole number"),
        (json.dumps(asdict(TASK) | {"max_tokens": 10**400}), "Line 1: .*larger than"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidRequestError, match=says):
        load_tasks(path)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="nowhere"):
        load_tasks(tmp_path / "nowhere.jsonl")
