"""Prompts that a user brings: two public benchmarks, one without answers, and our own columns."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engine.errors import InvalidRequestError
from engine.evaluation.expected import expected_of
from engine.evaluation.tasks import Task

Row = Mapping[str, Any]
_REQUIRED = ("prompt", "checker", "expected")
_OPTIONAL = ("id", "category", "max_tokens", "template")
_MOST_TOKENS = 4096
_FINAL = re.compile(r"####\s*([-+]?[\d,]+(?:\.\d+)?)\s*$")


def read_tasks(name: str, data: bytes) -> tuple[Task, ...]:
    """The tasks of an uploaded file.

    It may be GSM8K (``question``, ``answer``), HumanEval (``prompt``, ``test``, ``entry_point``), MT-Bench
    (``turns``; the first is asked, and has no score), or of our own columns: ``prompt``, ``checker``, ``expected``
    and, if wanted, ``id``, ``category``, ``max_tokens``, ``template``. Benchmarks come as JSON lines, our own
    columns as JSON lines or CSV. In CSV, what a checker expects is written as JSON where it is not plain text.

    Args:
        name: of the file; ``.csv`` says that it is CSV.
        data: its bytes, in UTF-8.

    Raises:
        InvalidRequestError: the file is empty, no text, or a line is no task; the message names the line.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{name} is no text in UTF-8 (at byte {error.start}).") from error
    is_csv = name.casefold().endswith(".csv")
    tasks: dict[str, Task] = {}
    convert: Callable[[Row, int], Task] | None = None
    for line, row in _csv_rows(name, text) if is_csv else _json_rows(name, text):
        convert = convert or _converter(row)
        try:
            task = convert(row, line)
        except (KeyError, TypeError, ValueError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
            raise InvalidRequestError(f"Line {line} of {name} is no task: {why}.") from error
        if task.id in tasks:
            raise InvalidRequestError(f"Line {line} of {name} has the id {task.id!r}, which is taken.")
        tasks[task.id] = task
    if not tasks:
        raise InvalidRequestError(f"{name} is empty.")
    return tuple(tasks.values())


def _json_rows(name: str, text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(
                f"Line {number} of {name} is no JSON; each line must be one JSON object: {error}."
            ) from error
        if not isinstance(row, dict):
            raise InvalidRequestError(f"Line {number} of {name} is no JSON object, but each line must be one.")
        yield number, row


def _csv_rows(name: str, text: str) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [column.strip().casefold() for column in reader.fieldnames or ()]
        missing = [column for column in _REQUIRED if column not in columns]
        if columns and missing:
            raise InvalidRequestError(
                f"{name} lacks the column {missing[0]!r}; its first line must name the columns {', '.join(_REQUIRED)}."
            )
        reader.fieldnames = columns
        for row in reader:
            if None in row or None in row.values():
                raise InvalidRequestError(
                    f"Line {reader.line_num} of {name} has not as many cells as the first line; texts with commas "
                    "must be in double quotes."
                )
            yield reader.line_num, {key: cell for key, cell in row.items() if cell.strip()}
    except csv.Error as error:
        raise InvalidRequestError(f"Line {reader.line_num} of {name} is no CSV: {error}.") from error


def _converter(row: Row) -> Callable[[Row, int], Task]:
    """How to read a file whose first line is this."""
    if {"question", "answer"} <= row.keys():
        return _gsm8k
    if {"prompt", "test", "entry_point"} <= row.keys():
        return _human_eval
    if "turns" in row:
        return _mt_bench
    return _own


def _gsm8k(row: Row, line: int) -> Task:
    final = _FINAL.search(_text(row, "answer"))
    if not final:
        raise ValueError("its answer does not end with #### and a number")
    return Task(
        id=f"gsm8k-{line}",
        category="GSM8K",
        prompt=f"{_text(row, 'question')}\n\nWork it out step by step. End with the number alone.",
        checker="number",
        expected=float(final[1].replace(",", "")),
        max_tokens=320,
        template="gsm8k",
    )


def _human_eval(row: Row, line: int) -> Task:
    start, entry = _text(row, "prompt"), _text(row, "entry_point")
    tests = f"{_text(row, 'test')}\n\ncheck({entry})"
    return Task(
        id=str(row.get("task_id", f"humaneval-{line}")),
        category="HumanEval",
        prompt=f"Complete this Python function. Reply with its code only.\n\n```python\n{start.rstrip()}\n```",
        checker="code",
        expected=expected_of("code", {"tests": tests, "entry": entry, "start": start}),
        max_tokens=384,
        template="humaneval",
    )


def _mt_bench(row: Row, line: int) -> Task:
    turns = row["turns"]
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str) or not turns[0].strip():
        raise ValueError("its turns are no list of texts")
    return Task(
        id=f"mt-bench-{row.get('question_id', line)}",
        category=str(row.get("category", "MT-Bench")).capitalize(),
        prompt=turns[0],
        max_tokens=256,
        template="mt-bench",
    )


def _own(row: Row, line: int) -> Task:
    unknown = [key for key in row if key not in (*_REQUIRED, *_OPTIONAL)]
    if unknown:
        raise ValueError(f"there is no column {unknown[0]!r}; there are: {', '.join((*_REQUIRED, *_OPTIONAL))}")
    checker = _text(row, "checker").strip()
    return Task(
        id=str(row.get("id", f"line-{line}")),
        category=str(row.get("category", "Uploaded")),
        prompt=_text(row, "prompt"),
        checker=checker,
        expected=expected_of(checker, row["expected"]),
        max_tokens=_tokens(row.get("max_tokens", 256 if checker == "code" else 64)),
        template=str(row.get("template", "")),
    )


def _text(row: Row, key: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"its {key} is no text")
    return value


def _tokens(value: object) -> int:
    if not isinstance(value, int | str) or isinstance(value, bool) or not str(value).strip().isdecimal():
        raise ValueError("its max_tokens is no whole number")
    if not 1 <= int(value) <= _MOST_TOKENS:
        raise ValueError(f"its max_tokens must be between 1 and {_MOST_TOKENS:,}")
    return int(value)
