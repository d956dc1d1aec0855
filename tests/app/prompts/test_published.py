"""Public benchmarks, read as they are published."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.prompts.columns import convert, guess
from app.prompts.forms import convert_published, published_as
from app.prompts.tables import read_table
from engine import Task, check
from engine.errors import InvalidRequestError
from tests.support.evaluation import needs_sandbox

GSM8K = {"question": "Ann has 2 pots and buys 1,010 more. How many?", "answer": "2 + 1010 = 1012.\n#### 1,012"}
HUMAN_EVAL = {
    "task_id": "Own/3",
    "prompt": 'from math import floor\n\n\ndef half(n):\n    """ Half of n, rounded down. """\n',
    "canonical_solution": "    return floor(n / 2)\n",
    "test": "def check(candidate):\n    assert candidate(5) == 2\n    assert candidate(4) == 2\n",
    "entry_point": "half",
}
MT_BENCH = {"question_id": 7, "category": "roleplay", "turns": ["Be a ship's cook.", "Now be the captain."]}


def brought(*rows: Mapping[str, Any]) -> tuple[tuple[Task, ...], list[str]]:
    """What becomes of a benchmark's file, and what is left out and why."""
    table = read_table("a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    found = convert_published(table)
    return found.tasks, [str(row) for row in found.left_out]


def test_gsm8k() -> None:
    (first, second), _ = brought(GSM8K, GSM8K | {"answer": "Less than nothing. #### -3"})
    assert first.prompt.startswith(GSM8K["question"])
    assert (first.checker, first.expected, first.id, first.category) == ("number", 1012, "gsm8k-1", "GSM8K")
    assert check(first, "First 2, then 1010 more: that is 1,012.")
    assert second.expected == -3


@needs_sandbox
def test_human_eval_takes_a_body_and_a_whole_function() -> None:
    (task,), _ = brought(HUMAN_EVAL)
    assert HUMAN_EVAL["prompt"].strip() in task.prompt
    assert "candidate" not in task.prompt
    assert task.id == "Own/3"
    assert check(task, HUMAN_EVAL["canonical_solution"])
    assert check(task, f"```python\n{HUMAN_EVAL['prompt']}{HUMAN_EVAL['canonical_solution']}```")
    assert check(task, "def half(n):\n    return floor(n / 2)")
    assert not check(task, "    return n / 2")
    assert not check(task, "    pass")


@pytest.mark.full
@needs_sandbox
@pytest.mark.skipif("GEARBOX_HUMANEVAL" not in os.environ, reason="GEARBOX_HUMANEVAL names no HumanEval.jsonl")
def test_all_of_human_eval_is_judged_right() -> None:
    data = Path(os.environ["GEARBOX_HUMANEVAL"]).read_bytes()
    solutions = {row["task_id"]: row["canonical_solution"] for row in map(json.loads, data.splitlines())}
    tasks = convert_published(read_table("HumanEval.jsonl", data)).tasks
    assert len(tasks) == len(solutions) > 0
    assert [task.id for task in tasks if not check(task, solutions[task.id])] == []
    assert [task.id for task in tasks if check(task, "    pass")] == []
    forged = "class Yes:\n    __eq__ = lambda *_: True\ndef {}(*args):\n    return Yes()"
    assert [task.id for task in tasks if check(task, forged.format(task.expected["entry"]))] == []


def test_mt_bench_has_no_score() -> None:
    (task,), _ = brought(MT_BENCH)
    assert (task.id, task.category, task.prompt) == ("mt-bench-7", "Roleplay", "Be a ship's cook.")
    assert task.checker is None
    with pytest.raises(InvalidRequestError, match="mt-bench-7"):
        check(task, "Aye!")


@pytest.mark.parametrize(
    ("first", "row", "says"),
    [
        (GSM8K, GSM8K | {"answer": "It is five."}, "cannot be asked, because its answer does not end with #### and a"),
        (GSM8K, GSM8K | {"answer": "#### " + "9" * 400}, "cannot be asked, because the number after #### is too large"),
        (GSM8K, {"prompt": "?", "expected": "yes"}, "has no text in column “answer”"),
        (GSM8K, {"answer": "#### 4"}, "has no text in column “question”"),
        (HUMAN_EVAL, HUMAN_EVAL | {"test": "def check("}, "cannot be asked, because the tests are no Python"),
        (HUMAN_EVAL, HUMAN_EVAL | {"entry_point": "half()"}, "cannot be asked, because the entry is the name of a"),
        (MT_BENCH, MT_BENCH | {"turns": []}, "cannot be asked, because its turns are no list of texts"),
        (MT_BENCH, MT_BENCH | {"turns": [5]}, "cannot be asked, because its turns are no list of texts"),
    ],
)
def test_a_row_that_is_not_as_published_is_left_out_with_its_line_and_why(
    first: dict[str, Any], row: dict[str, Any], says: str
) -> None:
    tasks, left_out = brought(first, row)
    assert len(tasks) == 1
    assert len(left_out) == 1
    assert left_out[0].startswith(f"line 2 {says}")


def test_what_no_benchmark_publishes_is_not_read_as_one() -> None:
    table = read_table("a.csv", b"question,answer\nWhy?,So.\n")
    assert published_as(table) is None
    with pytest.raises(InvalidRequestError, match="not as a known benchmark"):
        convert_published(table)


def test_of_openai_messages_the_last_of_the_user_is_asked_after_all_before_it() -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "image_url"}, {"type": "text", "text": "this?"}]
    system, hello = {"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello?"}
    tasks, left_out = brought(
        {"messages": [system, hello, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "More."}]},
        {
            "custom_id": "own",
            "method": "POST",
            "body": {"model": "m", "messages": [{"role": "user", "content": parts}]},
        },
        {"messages": [system]},
        {"messages": ["Hello?"]},
    )
    assert [(task.id, task.prompt, task.checker) for task in tasks] == [
        ("openai-messages-1", "More.", None), ("own", "What is\nthis?", None),
    ]  # fmt: skip
    assert [(message.role, message.content) for message in tasks[0].history] == [
        ("system", "Be short."), ("user", "Hello?"), ("assistant", "Hi."),
    ]  # fmt: skip
    assert left_out == [
        "line 3 cannot be asked, because it has no message of a user",
        "line 4 cannot be asked, because a message of its conversation is no object",
    ]


def test_of_a_sharegpt_conversation_the_humans_first_message_is_asked() -> None:
    turns = [{"from": "gpt", "value": "Hi!"}, {"from": "human", "value": " Why? "}, {"from": "gpt", "value": "So."}]
    tasks, left_out = brought({"id": "x7_0", "conversations": turns}, {"id": "x8", "conversations": turns[:1]})
    assert [(task.id, task.prompt, task.category) for task in tasks] == [("x7_0", "Why?", "ShareGPT")]
    assert left_out == ["line 2 cannot be asked, because it has no message of a user"]


def test_a_choice_file_without_names_is_read_from_its_first_row_on() -> None:
    table = read_table("mmlu.csv", b'7 x 8?,54,56,58,64,B\n"Largest, by mass?",Mars,Venus,Jupiter,Earth,C\n')
    (first, second) = convert(table, guess(table)).tasks
    assert first.checker == second.checker == "choice"
    assert "B) 56" in first.prompt
    assert check(first, "B")
    assert not check(first, "A")
    assert check(second, "C) Jupiter")


def test_a_choice_file_with_names_keeps_them() -> None:
    table = read_table("own.csv", b"Q,A,B,C,D,Solution\n7 x 8?,54,56,58,64,B\n")
    assert table.columns == ("Q", "A", "B", "C", "D", "Solution")
    assert len(table.rows) == 1
