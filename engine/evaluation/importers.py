"""Prompts that a user brings: two public benchmarks, one without answers, and our own columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

from engine.errors import InvalidRequestError
from engine.evaluation.expected import expected_of
from engine.evaluation.tasks import Task
from engine.untrusted import Record, decode_text, read_csv, read_jsonl

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
        InvalidRequestError: the file is empty, no text, or a line is no task; the message begins with the line.
    """
    text = decode_text(data, name)
    tasks: dict[str, Task] = {}
    convert: Callable[[Row, int], Task] | None = None
    for record in _csv_rows(name, text) if name.casefold().endswith(".csv") else read_jsonl(text):
        convert = convert or _converter(record.fields)
        try:
            task = convert(record.fields, record.line)
        except (KeyError, TypeError, ValueError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
            raise InvalidRequestError(f"Line {record.line:,}: no task, because {why}.") from error
        if task.id in tasks:
            raise InvalidRequestError(f"Line {record.line:,}: the id {task.id!r} is taken.")
        tasks[task.id] = task
    if not tasks:
        raise InvalidRequestError(f"{name} is empty.")
    return tuple(tasks.values())


def _csv_rows(name: str, text: str) -> Iterator[Record]:
    """The rows with their columns' names in lower case, empty cells left out."""
    for record in read_csv(text):
        row = {column.casefold(): cell for column, cell in record.fields.items()}
        if len(row) < len(record.fields):
            raise InvalidRequestError("Line 1: a column's name stands there twice.")
        missing = [column for column in _REQUIRED if column not in row]
        if missing:
            raise InvalidRequestError(
                f"{name} lacks the column {missing[0]!r}; its first line must name the columns {', '.join(_REQUIRED)}."
            )
        yield Record(record.line, {column: cell for column, cell in row.items() if cell.strip()})


def published_form(row: Row) -> tuple[str, Callable[[Row, int], Task]] | None:
    """The public benchmark whose line this is, and how such a line with its number becomes a task; ``None`` for any
    other. What converts raises ValueError or KeyError where a line is none.

    A question with an answer is GSM8K's only where the answer ends as those do: ``#### 42``.
    """
    if {"question", "answer"} <= row.keys() and isinstance(row["answer"], str) and _FINAL.search(row["answer"]):
        return "GSM8K", _gsm8k
    if {"prompt", "test", "entry_point"} <= row.keys():
        return "HumanEval", _human_eval
    if isinstance(row.get("turns"), list):
        return "MT-Bench", _mt_bench
    return None


def _converter(row: Row) -> Callable[[Row, int], Task]:
    """How to read a file whose first line is this."""
    if {"question", "answer"} <= row.keys():
        return _gsm8k
    if "turns" in row:
        return _mt_bench
    found = published_form(row)
    return found[1] if found else _own


def _gsm8k(row: Row, line: int) -> Task:
    final = _FINAL.search(_text(row, "answer"))
    if not final:
        raise ValueError("its answer does not end with #### and a number")
    return Task(
        id=f"gsm8k-{line}",
        category="GSM8K",
        prompt=f"{_text(row, 'question')}\n\nWork it out step by step. End with the number alone.",
        checker="number",
        expected=_final(final[1]),
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


def _final(digits: str) -> float:
    value = float(digits.replace(",", ""))
    if not isfinite(value):
        raise ValueError("the number after #### is too large")
    return value


def _text(row: Row, key: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"its {key} is no text")
    return value


def _tokens(value: object) -> int:
    if not isinstance(value, int | str) or isinstance(value, bool) or not str(value).strip().isdecimal():
        raise ValueError("its max_tokens is no whole number")
    if len(str(value)) > len(str(_MOST_TOKENS)) or not 1 <= int(value) <= _MOST_TOKENS:
        raise ValueError(f"its max_tokens must be between 1 and {_MOST_TOKENS:,}")
    return int(value)
