"""Files that say how each row is checked, and whatever may be wrong in them: each row is taken as it says, or left out
with its place, its column and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.prompts.columns import FROM_FILE, NONE, convert, guess
from app.prompts.gathering import Brought
from app.prompts.tables import read_table
from engine import JUDGED, check
from engine.errors import InvalidRequestError

OWN = {"prompt": "?", "checker": "exact", "expected": "yes"}


def lines(*rows: Any) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def brought(name: str, data: bytes) -> Brought:
    table = read_table(name, data)
    return convert(table, guess(table))


def test_a_sheet_may_hold_what_a_checker_expects_as_json() -> None:
    data = (
        b"Prompt,checker,expected,max_tokens\r\n"
        b'"Which one,\nA) ant\nB) bee?",choice,"{""options"": [""ant"", ""bee""], ""answer"": ""B""}",8\r\n'
        b"How many?,number,1.5,\r\n"
        b"Capital of France?,contains,Paris,16\r\n"
        b'Grey?,exact,"[""grey"", ""gray""]",\r\n'
        b"Say 7,exact,7,\r\n"
    )
    found = brought("mine.CSV", data)
    tasks = found.tasks
    assert not found.left_out
    assert [task.checker for task in tasks] == ["choice", "number", "contains", "exact", "exact"]
    assert tasks[0].prompt == "Which one,\nA) ant\nB) bee?"
    assert check(tasks[0], "B")
    assert tasks[1].expected == 1.5
    assert (tasks[2].expected, tasks[2].max_tokens, tasks[3].max_tokens) == ("Paris", 16, 64)
    assert check(tasks[3], "Gray.")
    assert check(tasks[4], "7")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_marks_and_odd_characters_break_no_file(mark: bytes, end: str, odd: str) -> None:
    rows = [OWN | {"prompt": f"one{odd}two"}, OWN | {"prompt": "three"}]
    as_json = end.join(json.dumps(row, ensure_ascii=False) for row in rows)
    as_csv = end.join(["prompt,checker,expected", *(",".join(row.values()) for row in rows)]) + end
    for name, text in (("a.jsonl", as_json), ("a.csv", as_csv)):
        found = brought(name, mark + text.encode())
        assert [task.prompt for task in found.tasks] == [f"one{odd}two", "three"]


def test_half_a_character_becomes_a_replacement_character_everywhere() -> None:
    half = "\\ud83d"
    line = json.dumps(OWN | {"prompt": "a@", "id": "b@", "category": "c@", "expected": ["d@"]}).replace("@", half)
    (task,) = brought("a.jsonl", line.encode()).tasks
    assert (task.prompt, task.id, task.category, task.expected) == ("a\ufffd", "b\ufffd", "c\ufffd", ["d\ufffd"])


def number_of(digits: str) -> bytes:
    return b'{"prompt": "?", "checker": "number", "expected": %s}' % digits.encode()


def of(checker: str, expected: Any) -> dict[str, Any]:
    return OWN | {"checker": checker, "expected": expected}


BY_EXPECTED = "cannot be checked by column “expected”: "


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (OWN | {"expected": 5}, BY_EXPECTED + "a text or a list of texts is expected"),
        (OWN | {"checker": "guess"}, "has “guess” as its checker; there are: exact,"),
        (OWN | {"prompt": " "}, "has no text in column “prompt”"),
        ({"prompt": "Why?", "checker": "exact"}, "has no text in column “expected”"),
        (OWN | {"max_tokens": 0}, "has “0” in column “max_tokens”: a number between 1 and 4,096 is needed"),
        (OWN | {"max_tokens": "many"}, "has “many” in column “max_tokens”: a number between 1 and"),
        (OWN | {"max_tokens": True}, "has “True” in column “max_tokens”: a number between 1 and"),
        (OWN | {"max_tokens": "9" * 5000}, "has “99999999999999999999” in column “max_tokens”: a number between 1 and"),
        (of("number", True), BY_EXPECTED + "a number is expected"),
        (of("number", "many"), BY_EXPECTED + "what number expects is no JSON"),
        (of("number", "9" * 400), BY_EXPECTED + "what number expects is no JSON (a number"),
        (of("number", "Infinity"), BY_EXPECTED + "what number expects is no JSON (Infinity"),
        (of("choice", {"options": ["a"], "answer": "A"}), BY_EXPECTED + "a choice has 2 to"),
        (
            OWN | {"checker": "choice", "expected": {"options": ["a", "b"], "answer": "C"}},
            BY_EXPECTED + "the answer of",
        ),
        (
            OWN | {"checker": "regex", "expected": {"pattern": "("}},
            BY_EXPECTED + "the pattern cannot be read: missing )",
        ),
        (of("json", 4), BY_EXPECTED + "a JSON object or list is expected"),
        (
            OWN | {"checker": "json", "expected": "[" * 100_000},
            BY_EXPECTED + "what json expects is no JSON (it is nest",
        ),
        (of("schema", {"schema": {"type": "dog"}}), BY_EXPECTED + "the JSON schema is not"),
        (
            of("schema", {"schema": {"maxItems": 0}, "example": [1]}),
            BY_EXPECTED + "the example fails",
        ),
        (
            of("code", {"tests": "assert f(", "entry": "f"}),
            BY_EXPECTED + "the tests are no Python: '(' was never closed",
        ),
        (
            of("code", {"tests": "-" * 100_000 + "1", "entry": "f"}),
            BY_EXPECTED + "the tests are no Python: they are nested too",
        ),
        (of("code", {"tests": "f()", "entry": "f()"}), BY_EXPECTED + "the entry is the name of a function"),
        (of("code", {"tests": "f()"}), BY_EXPECTED + "an object with tests and entry"),
        ({"a": "b"}, "has no text in column “prompt”"),
        ([1], "is neither an object, such as {…}, nor a text"),
    ],
)
def test_a_row_of_json_lines_that_is_no_prompt_is_left_out_with_its_line(row: Any, says: str) -> None:
    found = brought("a.jsonl", lines(OWN | {"prompt": "Good?"}, row))
    assert [task.prompt for task in found.tasks] == ["Good?"]
    (left_out,) = map(str, found.left_out)
    assert left_out.startswith(f"line 2 {says}")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"prompt": ', "is no JSON: Expecting value"),
        (b'{"a":' * 100_000, "is no JSON: it is nested more than 64 levels deep"),
        (number_of("9" * 400), "is no JSON: a number in it is larger than 1.8e+308"),
        (number_of("-" + "9" * 5000), "is no JSON: a number in it is larger than 1.8e+308"),
        (number_of("1e999"), "is no JSON: a number in it is larger than 1.8e+308"),
        (number_of("NaN"), "is no JSON: NaN is no JSON number"),
        (number_of("-Infinity"), "is no JSON: -Infinity is no JSON number"),
    ],
)
def test_a_line_that_is_no_json_is_left_out_with_its_number(line: bytes, says: str) -> None:
    found = brought("a.jsonl", lines(OWN) + b"\n" + line)
    assert len(found.tasks) == 1
    (left_out,) = map(str, found.left_out)
    assert left_out.startswith(f"line 2 {says}")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (b"a, b,exact,yes", "has 4 cells for 3 columns: put quotes around a cell with a separator in it"),
        (b"ab,exact", "has no text in column “expected”"),
        (b"ab,exact,", "has no text in column “expected”"),
        (b"ab,exct,yes", "has “exct” as its checker; there are: exact,"),
        (b"?,number," + b"9" * 400, BY_EXPECTED + "what number expects is no JSON (a number in it is larger than 1.8e"),
        (b"?,json," + b"[" * 100_000, BY_EXPECTED + "what json expects is no JSON (it is nested more than 64 levels"),
    ],
)
def test_a_row_of_a_sheet_that_is_no_prompt_is_left_out_with_its_row(row: bytes, says: str) -> None:
    found = brought("a.csv", b"prompt,checker,expected\nGood?,exact,yes\n" + row + b"\n")
    assert [(task.prompt, task.checker) for task in found.tasks] == [("Good?", "exact")]
    (left_out,) = map(str, found.left_out)
    assert left_out.startswith(f"row 3 {says}")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl", b"", "a.jsonl is empty"),
        ("a.jsonl", b"\x89PNG\xff", "not text in UTF-8: byte 0x89 in line 1"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl is no JSON: it is nested more than 64 levels deep"),
        (
            "a.csv",
            b'prompt,answer\na,b\n\n"never closed,yes\nc,d\n',
            r"Row 4 of a.csv is no CSV .unexpected end of data",
        ),
        ("a.csv", b'prompt,answer\na,b\n"He said "hi" to me",yes\n', "Row 3 of a.csv is no CSV .*double those in it"),
        ("a.csv", b'"prompt,answer\na,b\n', "Row 1 of a.csv is no CSV"),
    ],
)
def test_a_file_that_cannot_be_read_whole_says_where(name: str, data: bytes, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        read_table(name, data)


@pytest.mark.parametrize("other", ["id", "ID", "checker", "max tokens", "template"])
def test_a_column_with_a_meaning_of_its_own_is_no_expected_answer(other: str) -> None:
    table = read_table("a.csv", f"prompt,{other}\nWhy?,7\n".encode())
    assert (guess(table).expected, guess(table).checker) == (None, NONE)


def test_a_file_whose_prompts_a_model_judges_needs_no_expected_answers() -> None:
    found = brought("a.csv", b"prompt,checker\nWhy?,judged\nHow?,judged\n")
    assert [(task.checker, task.expected) for task in found.tasks] == [(JUDGED, None), (JUDGED, None)]


def test_one_unknown_checker_changes_no_other_rows() -> None:
    rows = [OWN | {"prompt": f"{n}?", "checker": "exct" if n == 3 else "exact"} for n in range(5)]
    table = read_table("a.jsonl", lines(*rows))
    assert guess(table).checker == FROM_FILE
    assert {task.checker for task in convert(table, guess(table)).tasks} == {"exact"}


def test_a_checker_that_only_a_late_row_names_is_used() -> None:
    rows = [{"prompt": f"{n}?", "expected": "yes"} for n in range(250)]
    table = read_table("a.jsonl", lines(*rows, OWN | {"prompt": "Last?"}))
    assert guess(table).checker == FROM_FILE
    assert convert(table, guess(table)).tasks[-1].checker == "exact"
