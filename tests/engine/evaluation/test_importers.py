"""Files of prompts that a user brings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InvalidRequestError
from engine.evaluation import MIXED_FILE, check, load_tasks, read_tasks
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


def lines(*rows: Any) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def test_gsm8k() -> None:
    first, second = read_tasks("test.jsonl", lines(GSM8K, GSM8K | {"answer": "Less than nothing. #### -3"}))
    assert first.prompt.startswith(GSM8K["question"])
    assert (first.checker, first.expected, first.id, first.category) == ("number", 1012, "gsm8k-1", "GSM8K")
    assert check(first, "First 2, then 1010 more: that is 1,012.")
    assert second.expected == -3


@needs_sandbox
def test_human_eval_takes_a_body_and_a_whole_function() -> None:
    (task,) = read_tasks("HumanEval.jsonl", lines(HUMAN_EVAL))
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
    tasks = read_tasks("HumanEval.jsonl", data)
    assert len(tasks) == len(solutions) > 0
    assert [task.id for task in tasks if not check(task, solutions[task.id])] == []
    assert [task.id for task in tasks if check(task, "    pass")] == []
    forged = "class Yes:\n    __eq__ = lambda *_: True\ndef {}(*args):\n    return Yes()"
    assert [task.id for task in tasks if check(task, forged.format(task.expected["entry"]))] == []


def test_mt_bench_has_no_score() -> None:
    (task,) = read_tasks("question.jsonl", lines(MT_BENCH))
    assert (task.id, task.category, task.prompt) == ("mt-bench-7", "Roleplay", "Be a ship's cook.")
    assert task.checker is None
    with pytest.raises(InvalidRequestError, match="mt-bench-7"):
        check(task, "Aye!")


def test_own_columns_as_json_lines() -> None:
    data = b'\xef\xbb\xbf{"prompt": "Say hi", "checker": "exact", "expected": ["hi", "hello"]}\r\n\r\n' + lines(
        {"prompt": "2+2", "checker": "number", "expected": 4, "id": "sum", "category": "Sums", "max_tokens": 8}
    )
    first, second = read_tasks("mine.jsonl", data)
    assert (first.id, first.category, first.expected) == ("line-1", "Uploaded", ["hi", "hello"])
    assert (second.id, second.category, second.max_tokens, second.expected) == ("sum", "Sums", 8, 4)


def test_own_columns_as_csv() -> None:
    data = (
        b"Prompt,checker,expected,max_tokens\r\n"
        b'"Which one,\nA) ant\nB) bee?",choice,"{""options"": [""ant"", ""bee""], ""answer"": ""B""}",8\r\n'
        b"How many?,number,1.5,\r\n"
        b"Capital of France?,contains,Paris,16\r\n"
        b'Grey?,exact,"[""grey"", ""gray""]",\r\n'
        b"Say 7,exact,7,\r\n"
    )
    tasks = read_tasks("mine.CSV", data)
    assert [task.checker for task in tasks] == ["choice", "number", "contains", "exact", "exact"]
    assert tasks[0].prompt == "Which one,\nA) ant\nB) bee?"
    assert check(tasks[0], "B")
    assert tasks[1].expected == 1.5
    assert (tasks[2].expected, tasks[2].max_tokens, tasks[3].max_tokens) == ("Paris", 16, 64)
    assert check(tasks[3], "Gray.")
    assert check(tasks[4], "7")


def test_the_projects_own_files_can_be_uploaded() -> None:
    assert read_tasks("mixed.jsonl", MIXED_FILE.read_bytes()) == load_tasks(MIXED_FILE)


OWN = {"prompt": "?", "checker": "exact", "expected": "yes"}


def number_of(digits: str) -> bytes:
    return b'{"prompt": "?", "checker": "number", "expected": %s}' % digits.encode()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c"])
def test_marks_and_odd_characters_break_no_file(mark: bytes, end: str, odd: str) -> None:
    rows = [OWN | {"prompt": f"one{odd}two"}, OWN | {"prompt": "three"}]
    as_json = end.join(json.dumps(row, ensure_ascii=False) for row in rows)
    as_csv = end.join(["prompt,checker,expected", *(",".join(row.values()) for row in rows)]) + end
    for name, text in (("a.jsonl", as_json), ("a.csv", as_csv)):
        assert [task.prompt for task in read_tasks(name, mark + text.encode())] == [f"one{odd}two", "three"]


def test_half_a_character_becomes_a_replacement_character_everywhere() -> None:
    half = "\\ud83d"
    line = json.dumps(OWN | {"prompt": "a@", "id": "b@", "category": "c@", "expected": ["d@"]}).replace("@", half)
    (task,) = read_tasks("a.jsonl", line.encode())
    assert (task.prompt, task.id, task.category, task.expected) == ("a\ufffd", "b\ufffd", "c\ufffd", ["d\ufffd"])


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl", b"", "a.jsonl is empty"),
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"prompt,checker,expected\n", "a.csv is empty"),
        ("a.jsonl", b"\x89PNG\xff", "not text in UTF-8: byte 0x89 in line 1"),
        ("a.jsonl", b'{"prompt": ', "Line 1: not JSON"),
        ("a.jsonl", b"[1]", "Line 1: a JSON object is needed"),
        ("a.jsonl", lines(OWN, OWN | {"expected": 5}), "Line 2: .*text"),
        ("a.jsonl", lines({"prompt": "?"}), "Line 1: .*'checker'"),
        ("a.jsonl", lines(OWN | {"checker": "guess"}), "Line 1: .*'guess'.*exact"),
        ("a.jsonl", lines(OWN | {"colour": 1}), "'colour'"),
        ("a.jsonl", lines(OWN | {"prompt": " "}), "prompt is no text"),
        ("a.jsonl", lines(OWN | {"max_tokens": 0}), "between 1 and"),
        ("a.jsonl", lines(OWN | {"max_tokens": "many"}), "whole number"),
        ("a.jsonl", lines(OWN | {"max_tokens": True}), "whole number"),
        ("a.jsonl", lines(OWN | {"id": "x"}, OWN | {"id": "x"}), "Line 2: .*'x'"),
        ("a.jsonl", lines(OWN | {"checker": "number", "expected": True}), "number"),
        ("a.jsonl", lines(OWN | {"checker": "number", "expected": "many"}), "number expects is no JSON"),
        ("a.jsonl", lines(OWN | {"checker": "choice", "expected": {"options": ["a"], "answer": "A"}}), "2 to 26"),
        ("a.jsonl", lines(OWN | {"checker": "choice", "expected": {"options": ["a", "b"], "answer": "C"}}), "A, B"),
        ("a.jsonl", lines(OWN | {"checker": "regex", "expected": {"pattern": "("}}), "pattern"),
        ("a.jsonl", lines(OWN | {"checker": "json", "expected": 4}), "object or list"),
        ("a.jsonl", lines(OWN | {"checker": "schema", "expected": {"schema": {"type": "dog"}}}), "schema is not valid"),
        (
            "a.jsonl",
            lines(OWN | {"checker": "schema", "expected": {"schema": {"maxItems": 0}, "example": [1]}}),
            "exam",
        ),
        ("a.jsonl", lines(OWN | {"checker": "code", "expected": {"tests": "assert f(", "entry": "f"}}), "no Python"),
        (
            "a.jsonl",
            lines(OWN | {"checker": "code", "expected": {"tests": "-" * 100_000 + "1", "entry": "f"}}),
            "nested too deeply",
        ),
        (
            "a.jsonl",
            lines(OWN | {"checker": "code", "expected": {"tests": "f()", "entry": "f()"}}),
            "name of a function",
        ),
        ("a.jsonl", lines(OWN | {"checker": "code", "expected": {"tests": "f()"}}), "tests and entry"),
        ("a.jsonl", lines(GSM8K, GSM8K | {"answer": "It is five."}), "Line 2: .*####"),
        ("a.jsonl", lines(GSM8K, OWN), "Line 2: .*'question'|Line 2: .*'answer'"),
        ("a.jsonl", lines(HUMAN_EVAL | {"test": "def check("}), "no Python"),
        ("a.jsonl", lines(MT_BENCH | {"turns": []}), "turns"),
        ("a.jsonl", b"[" * 100_000, "Line 1: not JSON .it is nested more than"),
        ("a.jsonl", lines(OWN) + b'\n{"a":' * 100_000, "Line 2: not JSON"),
        ("a.csv", b"prompt,checker,expected\n?,json," + b"[" * 100_000 + b"\n", "Line 2: .*nested more than"),
        ("a.jsonl", number_of("9" * 400), "Line 1: .*larger than 1.8e"),
        ("a.jsonl", number_of("-" + "9" * 5000), "Line 1: .*larger than 1.8e"),
        ("a.jsonl", number_of("1e999"), "Line 1: .*larger than 1.8e"),
        ("a.jsonl", number_of("NaN"), "Line 1: .*NaN"),
        ("a.jsonl", number_of("-Infinity"), "Line 1: .*-Infinity"),
        ("a.csv", b"prompt,checker,expected\n?,number," + b"9" * 400 + b"\n", "Line 2: .*larger than 1.8e"),
        ("a.csv", b"prompt,checker,expected\n?,number,Infinity\n", "Line 2: .*Infinity"),
        ("a.csv", b"prompt,checker,expected,max_tokens\n?,exact,x," + b"9" * 5000 + b"\n", "Line 2: .*between 1 and"),
        ("a.jsonl", lines(GSM8K | {"answer": "#### " + "9" * 400}), "Line 1: .*too large"),
        ("a.csv", b"prompt,checker,expected,Prompt\n?,exact,x,y\n", "Line 1: a column's name stands there twice"),
        ("a.csv", b"prompt,checker\n?,exact\n", "column 'expected'"),
        ("a.csv", b"prompt,checker,expected\na, b,exact,yes\n", "Line 2: 4 fields for 3 columns"),
        ("a.csv", b"prompt,checker,expected\nab,exact\n", "Line 2: 2 fields for 3 columns"),
        ("a.csv", b'prompt,checker,expected\n"ab,exact,yes\n', "no CSV"),
        ("a.csv", b"prompt,checker,expected\nab,exact,\n", "Line 2: .*'expected'"),
    ],
)
def test_what_is_no_task_is_named_with_its_line(name: str, data: bytes, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        read_tasks(name, data)
