"""Files that people bring: read as they are written, columns and checkers guessed, errors that name the cell."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.prompts.columns import EITHER, FROM_FILE, NONE, convert, guess
from app.prompts.files import read_prompt_file
from app.prompts.forms import convert_published, published_as
from app.prompts.tables import MOST_PROMPTS, read_table
from app.prompts.templates import TEMPLATES, Template
from engine import JUDGED, MIXED_FILE, check, load_tasks
from engine.errors import InvalidRequestError


def sheet(*rows: list[str], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


def lines(*rows: Any) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def brought(name: str, data: bytes) -> tuple[list[tuple[str, str | None, Any]], list[str]]:
    """What becomes of a file as it is guessed: prompt, checker and expected of each; what is left out and why."""
    table = read_table(name, data)
    found = convert(table, guess(table))
    return [(t.prompt, t.checker, t.expected) for t in found.tasks], [str(row) for row in found.left_out]


# --- formats ----------------------------------------------------------------------------------------


def test_a_question_with_an_answer_needs_no_checker() -> None:
    tasks, left_out = brought("mine.csv", sheet(["question", "answer"], ["Capital of France?", "Paris"]))
    assert tasks == [("Capital of France?", "contains", "Paris")]
    assert left_out == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_sheets_are_read_as_spreadsheets_write_them(delimiter: str, mark: bytes) -> None:
    rows = ["Frage", "Antwort"], ["Wie viel ist 1,5; grob?\nRunden!", 'zwei "ganze"'], ["", ""], ["Und 2?", "zwei"]
    tasks, left_out = brought("mine.csv", mark + sheet(*rows, delimiter=delimiter))
    assert [(prompt, expected) for prompt, _, expected in tasks] == [
        ("Wie viel ist 1,5; grob?\nRunden!", 'zwei "ganze"'),
        ("Und 2?", "zwei"),
    ]
    assert left_out == []


def test_a_sheet_in_utf_16_is_read() -> None:
    data = "prompt\tanswer\nGrüße?\tja\n".encode("utf-16")
    assert brought("mine.csv", data)[0] == [("Grüße?", "contains", "ja")]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", b'[{"prompt": "a", "answer": 1}, {"prompt": "b", "answer": 2}]'),
        ("a.json", b'{"data": [{"prompt": "a", "answer": 1}, {"prompt": "b", "answer": 2}]}'),
        ("a.json", b'{"prompt": "a", "answer": 1}\n{"prompt": "b", "answer": 2}'),
        ("a.jsonl", b'{"prompt": "a", "answer": 1}\n\n{"prompt": "b", "answer": 2}'),
        ("a.csv", b"prompt,answer\na,1\nb,2\n"),
    ],
)
def test_the_same_prompts_in_any_format_are_the_same(name: str, data: bytes) -> None:
    assert brought(name, data)[0] == [("a", "number", 1), ("b", "number", 2)]


def test_plain_text_is_a_prompt_a_line_without_a_checker() -> None:
    tasks, _ = brought("mine.txt", b"\xef\xbb\xbfWhy is the sky blue?\r\n\r\nWho are you?\r\n")
    assert tasks == [("Why is the sky blue?", None, None), ("Who are you?", None, None)]


PUBLISHED = ("GSM8K", "HumanEval", "MT-Bench", "OpenAI messages", "ShareGPT")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.format)
def test_every_template_is_read_whole(template: Template) -> None:
    table = read_prompt_file(template.file_name, template.data)
    published = published_as(table)
    found = convert_published(table) if published else convert(table, guess(table))
    assert found.tasks
    assert not found.left_out
    assert published == (template.format if template.format in PUBLISHED else None)


def test_the_projects_own_columns_are_read_as_they_say() -> None:
    table = read_table("mixed.jsonl", MIXED_FILE.read_bytes())
    columns = guess(table)
    assert columns.checker == FROM_FILE
    assert convert(table, columns).tasks == load_tasks(MIXED_FILE)


def test_a_column_is_known_by_its_name_before_brackets_and_signs() -> None:
    table = read_table("a.csv", sheet(["No.", "Question:", "Expected (gold)"], ["1", "What is 2 + 2?", "4"]))
    columns = guess(table)
    assert (columns.prompt, columns.expected, columns.checker) == ("Question:", "Expected (gold)", "number")


# --- checkers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "checker"),
    [
        (["42", "1,234.5", "-3"], "number"),
        (["$5", "12 %", "€ 3"], "number"),
        (["Paris", "the river Rhine", "42"], "contains"),
        (['{"a": 1}', "[1, 2]", '{"b": []}'], "json"),
        (['["grey", "gray"]', '["a", "b"]'], "contains"),
        (["/^yes/", "/no$/i"], "regex"),
        (["assert half(4) == 2", "assert half(5) == 2"], "code"),
        (["word " * 40, "text " * 50], NONE),
        (["", ""], NONE),
    ],
)
def test_the_checker_is_guessed_by_what_is_expected(answers: list[str], checker: str) -> None:
    rows = [[f"What is {n}?", answer] for n, answer in enumerate(answers)]
    assert guess(read_table("a.csv", sheet(["prompt", "answer"], *rows))).checker == checker


def test_prompts_that_a_model_judges_need_no_expected_answer_and_keep_one_that_is_there() -> None:
    table = read_table("a.csv", sheet(["prompt", "answer"], ["Why?", "word " * 40], ["How?", ""]))
    found = convert(table, guess(table).checked_by(JUDGED))
    assert [(task.checker, task.expected) for task in found.tasks] == [
        (JUDGED, ("word " * 40).strip()),
        (JUDGED, None),
    ]
    assert not found.left_out
    alone = read_table("a.txt", b"Why?\n")
    (task,) = convert(alone, guess(alone).checked_by(JUDGED)).tasks
    assert (task.checker, task.expected) == (JUDGED, None)


def test_a_file_may_say_that_a_model_judges() -> None:
    table = read_table(
        "a.csv", sheet(["prompt", "answer", "checker"], ["Why?", "", "judged"], ["2 + 2?", "4", "number"])
    )
    columns = guess(table)
    assert columns.checker == FROM_FILE
    assert [(task.checker, task.expected) for task in convert(table, columns).tasks] == [(JUDGED, None), ("number", 4)]


ANT_OR_BEE = "Which one?\nA) ant\nB) bee"


@pytest.mark.parametrize(
    "row",
    [
        {"question": ANT_OR_BEE, "answer": "B"},
        {"question": "Which one?", "A": "ant", "B": "bee", "answer": "B"},
        {"question": "Which one?", "option_a": "ant", "option_b": "bee", "answer": "bee"},
        {"question": "Which one?", "choices": ["ant", "bee"], "answer": "(b)"},
        {"question": "Which one?", "choices": "ant | bee", "answer": "B"},
        {"question": "Which one?", "choices": {"text": ["ant", "bee"], "label": ["1", "2"]}, "answerKey": "2"},
    ],
)
def test_one_of_several_is_read_however_the_options_are_written(row: dict[str, Any]) -> None:
    table = read_table("a.jsonl", lines(row))
    (task,) = convert(table, guess(table)).tasks
    assert (task.checker, task.expected) == ("choice", {"options": ["ant", "bee"], "answer": "B"})
    assert "A) ant\nB) bee" in task.prompt
    assert check(task, "B")
    assert not check(task, "A")


def test_a_checker_that_the_reader_chooses_counts() -> None:
    table = read_table("a.csv", sheet(["prompt", "answer"], ["How many?", "42"]))
    (task,) = convert(table, guess(table).checked_by("exact")).tasks
    assert (task.checker, task.expected, task.max_tokens) == ("exact", "42", 32)
    (task,) = convert(table, guess(table).checked_by(NONE)).tasks
    assert task.checker is None


FACTS_AND_SUMS = [["Capital of France?", "Paris"], ["2 + 3?", "5"], ["Capital of Spain?", "Madrid"], ["6 × 7?", "42"]]


def test_numbers_among_words_are_said_and_can_be_checked_as_numbers() -> None:
    table = read_table("a.csv", sheet(["prompt", "answer"], *FACTS_AND_SUMS))
    columns = guess(table)
    (note,) = convert(table, columns).notes
    assert (columns.checker, note.partition(". ")[0]) == ("contains", "Numbers among the expected answers: 2 of 4")
    found = convert(table, columns.checked_by(EITHER))
    assert [task.checker for task in found.tasks] == ["contains", "number", "contains", "number"]
    assert not found.notes
    assert check(found.tasks[1], "2 + 3 is 5.0")
    assert not check(found.tasks[1], "5 − 2 = 3")


@pytest.mark.parametrize("answers", [["Paris"] * 19 + ["1969"], ["5", "42"], ["Paris", "Rome"]])
def test_a_year_among_names_is_no_matter(answers: list[str]) -> None:
    rows = [[f"What is {n}?", answer] for n, answer in enumerate(answers)]
    table = read_table("a.csv", sheet(["prompt", "answer"], *rows))
    assert not convert(table, guess(table)).notes


def test_columns_that_the_reader_maps_count() -> None:
    table = read_table("a.csv", sheet(["x", "y", "z"], ["Capital of France?", "Paris", "Facts"]))
    columns = replace(guess(table), prompt="x", expected="y", category="z", checker="contains")
    (task,) = convert(table, columns).tasks
    assert (task.prompt, task.expected, task.category) == ("Capital of France?", "Paris", "Facts")


# --- what is left out -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", sheet(["question", "answer"], ["a?", "1"], ["", "2"]), "row 3 has no text in column “question”"),
        ("a.csv", sheet(["question", "answer"], ["a?", "1"], ["b?", ""]), "row 3 has no text in column “answer”"),
        ("a.csv", b"question,answer\na?,x\nb?,x,y\n", "row 3 has 3 cells for 2 columns"),
        ("a.jsonl", lines({"question": "a?", "answer": "x"}, 5), "line 2 is neither an object"),
        ("a.jsonl", b'{"question": "a?", "answer": "x"}\n{"question"', "line 2 is no JSON"),
        ("a.json", b'[{"question": "a?", "answer": "x"}, ""]', "entry 2 is empty"),
        ("a.csv", sheet(["q", "answer"], ["a?", "x"], ["a?", "x"]), "row 3 repeats row 2"),
        (
            "a.csv",
            sheet(["question", "answer"], *[[f"{n}?", str(n)] for n in range(20)], ["z?", "many"]),
            "row 22 cannot be checked by column “answer”: “many” is no number",
        ),
        (
            "a.csv",
            sheet(["q", "A", "B", "answer"], *[[f"{n}?", "x", "y", "B"] for n in range(20)], ["z?", "x", "y", "E"]),
            "row 22 has “E” in column “answer”, which is neither a letter from A to B nor one of its options",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_names_the_row_the_column_and_why(name: str, data: bytes, says: str) -> None:
    tasks, left_out = brought(name, data)
    assert tasks
    assert len(left_out) == 1
    assert left_out[0].startswith(says)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"prompt,answer\n", "a.csv has no row that can be read"),
        ("a.csv", b"prompt,answer\nGr\xfc\xdfe,x\n", r"byte 0xfc in line 2.*CSV UTF-8"),
        ("a.csv", b"prompt,prompt\na,b\n", "two columns that are called “prompt”"),
        ("a.json", b"[1, 2", "a.json is no JSON"),
        ("a.jsonl", b"5\n", r"no row that can be read.*line 1 is neither"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_to_do(name: str, data: bytes, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        read_table(name, data)


def test_the_same_prompt_with_different_answers_is_kept_twice_and_told() -> None:
    table = read_table("a.csv", sheet(["prompt", "answer"], ["Capital?", "Paris"], ["Capital?", "Rome"]))
    found = convert(table, guess(table))
    assert [task.expected for task in found.tasks] == ["Paris", "Rome"]
    assert len({task.id for task in found.tasks}) == 2
    assert found.notes == (
        "One prompt stands there more than once with different answers: each is kept as a prompt of its own.",
    )


def test_ids_that_stand_twice_are_told_apart() -> None:
    table = read_table("a.jsonl", lines(*[{"id": "x", "prompt": f"{n}?", "answer": "y"} for n in range(2)]))
    assert [task.id for task in convert(table, guess(table)).tasks] == ["x", "x (line 2)"]


def test_more_prompts_than_there_is_room_for_are_left_out_and_told() -> None:
    rows = [{"prompt": f"{n}?", "answer": "x"} for n in range(MOST_PROMPTS + 2)]
    table = read_table("a.jsonl", lines(*rows))
    found = convert(table, guess(table))
    assert len(found.tasks) == MOST_PROMPTS
    assert [str(row) for row in found.left_out] == [
        f"line {place:,} is beyond the first 5,000 prompts" for place in (5001, 5002)
    ]


def test_a_hundred_categories_and_a_huge_cell_are_read() -> None:
    rows = [["prompt", "answer", "category"], ["a" * 300_000, "x", "huge"]]
    rows += [[f"{n}?", "x", f"c{n}"] for n in range(100)]
    table = read_table("a.csv", sheet(*rows))
    found = convert(table, guess(table))
    assert len({task.category for task in found.tasks}) == 100
    assert [str(row) for row in found.left_out] == [
        "row 2 has 300,000 characters in column “prompt”, more than any model here reads"
    ]


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.json", "a.jsonl", "a.txt", "a"]))
def test_any_bytes_are_prompts_or_an_error_in_words(data: bytes, name: str) -> None:
    try:
        table = read_table(name, data)
    except InvalidRequestError:
        return
    found = convert_published(table) if published_as(table) else convert(table, guess(table))
    assert len(found.tasks) + len(found.left_out) == len(table.rows) + len(table.left_out)


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), min_size=1, max_size=8))
def test_every_row_of_a_sheet_is_a_prompt_or_left_out(rows: list[tuple[str, str]]) -> None:
    try:
        table = read_table("a.csv", sheet(["prompt", "answer"], *map(list, rows)))
    except (InvalidRequestError, UnicodeEncodeError):
        return
    found = convert(table, guess(table))
    assert len(found.tasks) + len(found.left_out) == len(table.rows) + len(table.left_out)
