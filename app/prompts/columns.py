"""Which column of a file is what, and how its answers are checked: guessed, and changed by the reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.prompts.expectations import as_number, options_of, read_choice, read_expected, tested_function
from app.prompts.gathering import Brought, gather
from app.prompts.tables import LONGEST_PROMPT, Row, Table
from engine import Task
from engine.evaluation.expected import expected_of
from engine.evaluation.judge import JUDGED
from engine.evaluation.scorers import CHECKERS
from engine.evaluation.tasks import read_history
from engine.types import Message
from engine.untrusted import parse_json

NONE, FROM_FILE, EITHER = "none", "file", "number or contains"
CHECKS: Mapping[str, str] = {
    "contains": "Contains: the expected words stand in the answer",
    "exact": "Exact: the whole answer is the expected text",
    "number": "Number: the last number of the answer is the expected one",
    EITHER: "Number or contains: as a number where the expected answer is one, as words in the other rows",
    "choice": "One of several: the answer picks the right option",
    "regex": "Pattern: a regular expression is found in the answer",
    "json": "JSON: the first JSON in the answer equals the expected one",
    "code": "Code: the answer's Python passes the expected tests",
    JUDGED: "Judged by a model: one says whether the answer is right; in the Router lab the largest installed, by the "
    "expected answer where there is one; in an experiment the one that you ask",
    NONE: "None: an answer is scored by its likeness to the largest tier's or the baseline's, the F1 of their words",
    FROM_FILE: "As the file says: by its column “checker”",
}
"""How answers can be checked, each in a line."""
_MAX_TOKENS = {"exact": 32, "number": 128, EITHER: 128, "choice": 32, "json": 256, "code": 384, JUDGED: 256, NONE: 256}
_USUAL_TOKENS = 64
_MOST_TOKENS = 4096
_LOOKED_AT = 200
"""Rows that a guess is made from; whether the file names its checkers is seen in all of them."""
_MOSTLY = 0.9
_SHORT_WORDS = 12
_PROMPTS = ("prompt", "question", "instruction", "query", "problem", "input", "text", "task", "user", "frage")
_EXPECTED = (
    "expected", "expected_answer", "expected_output", "answer", "answers", "answerkey", "answer_key", "correct_answer",
    "output", "target", "label", "reference", "solution", "correct", "gold", "ideal", "ground_truth", "pattern",
    "regex", "test", "tests", "response", "completion", "antwort",
)  # fmt: skip
_CATEGORIES = ("category", "topic", "subject", "type", "kind", "group", "kategorie")
_OURS = ("id", "checker", "max_tokens", "template", "history")  # never an expected answer
_OPTION_LISTS = ("options", "choices")
_OPTION = re.compile(r"(?:option|choice|answer)?_?([a-z]|\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column is what, and the checker."""

    prompt: str
    expected: str | None
    category: str | None = None
    options: tuple[str, ...] = ()
    """The column of options, or one for each; empty where they stand in the prompt, or there are none."""
    checker: str = NONE
    """One of :data:`CHECKS`."""
    max_tokens: int = _USUAL_TOKENS
    """Of an answer, where the file does not say."""

    def checked_by(self, checker: str) -> Columns:
        """The same with another checker, and as many tokens as its answers need."""
        return replace(self, checker=checker, max_tokens=_MAX_TOKENS.get(checker, _USUAL_TOKENS))


def guess(table: Table) -> Columns:
    """The likeliest meaning of a file's columns, by their names and by what stands in them."""
    plain = {_plain(column): column for column in reversed(table.columns)}
    rows = table.rows[:_LOOKED_AT]
    prompt = _named(plain, _PROMPTS) or _longest(table.columns, rows)
    others = {name: column for name, column in plain.items() if column != prompt}
    expected = _named(others, _EXPECTED)
    category = _named(others, _CATEGORIES)
    options = _option_columns(others, rows)
    rest = [column for name, column in others.items() if name not in _OURS and column not in (category, *options)]
    if expected is None and len(table.columns) == 2 and len(rest) == 1:
        expected = rest[0]
    columns = Columns(prompt=prompt, expected=expected, category=category, options=options)
    return columns.checked_by(_guess_checker(columns, table.rows, plain))


def guess_checker(table: Table, columns: Columns) -> str:
    """The likeliest checker for some columns."""
    plain = {_plain(column): column for column in reversed(table.columns)}
    return _guess_checker(columns, table.rows, plain)


def convert(table: Table, columns: Columns) -> Brought:
    """The prompts of a file, as its columns are read. What cannot be checked as wanted is left out, with its reason; a
    prompt that stands there twice with different answers is kept twice."""
    found = gather(table, lambda row, place: (_task(row, place, columns, table.plain),))
    numbers, of = sum(_is_number(task.expected) for task in found.tasks), len(found.tasks)
    if columns.checker != "contains" or numbers == of or numbers < (1 - _MOSTLY) * of:
        return found
    note = (
        f"Numbers among the expected answers: {numbers:,} of {of:,}. They are looked for as words; “Number or "
        "contains” compares them as numbers."
    )
    return replace(found, notes=(*found.notes, note))


def expects_numbers_and_words(table: Table, columns: Columns) -> bool:
    """Whether some of the expected answers are numbers and some are not."""
    column = columns.expected
    return column is not None and len({_is_number(row.cells[column]) for row in table.rows if column in row.cells}) > 1


def _task(row: Row, place: int, columns: Columns, plain: bool) -> Task:
    prompt = row.text(columns.prompt)
    if not prompt:
        raise ValueError("is empty" if plain else f"has no text in column “{columns.prompt}”")
    if len(prompt) > LONGEST_PROMPT:
        raise ValueError(f"has {len(prompt):,} characters in column “{columns.prompt}”, more than any model here reads")
    checker: str | None = columns.checker
    expected: Any = None
    if checker == FROM_FILE:
        checker = row.text(_checker_column(row.cells) or "") or NONE
        if checker not in (*CHECKERS, JUDGED, NONE):
            raise ValueError(f"has “{checker[:40]}” as its checker; there are: {', '.join((*CHECKERS, JUDGED))}")
    if checker == EITHER:
        checker = "number" if _is_number(row.cells.get(columns.expected or "")) else "contains"
    if checker == NONE:
        checker = None
    elif checker == JUDGED:
        expected = (row.text(columns.expected) if columns.expected else "") or None
    elif columns.expected is None:
        raise ValueError("has nothing to check by: choose the column of the expected answers")
    elif checker == "choice" and columns.checker != FROM_FILE:
        prompt, expected = read_choice(prompt, row, columns.expected, columns.options)
    elif columns.checker == FROM_FILE:
        expected = _as_file_says(str(checker), row, columns.expected)
    else:
        expected = read_expected(str(checker), row, columns.expected)
    return Task(
        id=row.text("id") or f"{row.place}",
        category=(row.text(columns.category) if columns.category else "") or "Uploaded",
        prompt=prompt,
        checker=checker,
        expected=expected,
        max_tokens=_tokens(row, columns.max_tokens),
        template=row.text("template"),
        history=_history(row),
    )


def _history(row: Row) -> tuple[Message, ...]:
    """A column “history” as Gearbox itself writes it: messages in a list, in a sheet as JSON."""
    cell = row.cells.get("history")
    if not isinstance(cell, list) and not row.text("history").startswith("["):
        return ()  # a column of somebody's own
    try:
        return read_history(parse_json(cell) if isinstance(cell, str) else cell)
    except ValueError as error:
        raise ValueError(f"has no history in column “history”: {str(error).rstrip('.')}") from error


def _as_file_says(checker: str, row: Row, column: str) -> Any:
    if column not in row.cells:
        raise ValueError(f"has no text in column “{column}”")
    try:
        return expected_of(checker, row.cells[column])
    except ValueError as error:
        raise ValueError(f"cannot be checked by column “{column}”: {str(error).rstrip('.')}") from error


def _tokens(row: Row, usual: int) -> int:
    text = row.text("max_tokens")
    if not text:
        return usual
    if not text.isdecimal() or len(text) > len(str(_MOST_TOKENS)) or not 1 <= int(text) <= _MOST_TOKENS:
        raise ValueError(f"has “{text[:20]}” in column “max_tokens”: a number between 1 and {_MOST_TOKENS:,} is needed")
    return int(text)


# --- guesses ----------------------------------------------------------------------------------------


def _guess_checker(columns: Columns, rows: Sequence[Row], plain: Mapping[str, str]) -> str:
    column = columns.expected
    checkers = [row.text(plain.get("checker", "")) for row in rows]
    if column is not None and any(name in (*CHECKERS, JUDGED) for name in checkers):
        return FROM_FILE
    if column is None and any(checkers) and {*checkers} <= {JUDGED, ""}:
        return JUDGED
    filled = [row for row in rows[:_LOOKED_AT] if column in row.cells] if column else []
    if column is None or not filled:
        return NONE
    if _most(_reads_as_choice(row, columns) for row in filled):
        return "choice"
    values = [row.cells[column] for row in filled]
    texts = [value if isinstance(value, str) else "" for value in values]
    if _most(map(_is_number, values)):
        return "number"
    if _most(map(_is_tree, values)):
        return "json"
    if _plain(column) in ("pattern", "regex") or _most(re.fullmatch(r"/.+/[a-z]*|\^.*\$", t.strip()) for t in texts):
        return "regex"
    if _most("assert" in text and tested_function(text) is not None for text in texts):
        return "code"
    if _most(isinstance(v, list) or 0 < len(str(v).split()) <= _SHORT_WORDS for v in values):
        return "contains"
    return NONE


def _reads_as_choice(row: Row, columns: Columns) -> bool:
    prompt = row.text(columns.prompt)
    try:
        read_choice(prompt, row, columns.expected or "", columns.options)
    except ValueError:
        return False
    return len(options_of(prompt, row, columns.options)[1]) > 1


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and as_number(str(value)) is not None


def _is_tree(value: Any) -> bool:
    """Whether a cell is JSON that is no list of equivalent texts."""
    if isinstance(value, str):
        try:
            value = parse_json(value) if value.strip()[:1] in ("{", "[") else None
        except ValueError:
            return False
    return isinstance(value, dict) or (isinstance(value, list) and not all(isinstance(v, str) for v in value))


def _checker_column(cells: Mapping[str, Any]) -> str | None:
    return next((column for column in cells if _plain(column) == "checker"), None)


def _option_columns(plain: Mapping[str, str], rows: Sequence[Row]) -> tuple[str, ...]:
    if listed := _named(plain, _OPTION_LISTS):
        return (listed,)
    found = {match[1]: column for name, column in plain.items() if (match := _OPTION.fullmatch(name))}
    letters = [mark for mark in "abcdefghijklmnopqrstuvwxyz" if mark in found]
    digits = [mark for mark in "0123456789" if mark in found]
    marks = letters if "a" in letters and "b" in letters else digits if len(digits) > 1 else []
    return tuple(found[mark] for mark in marks)


def _named(plain: Mapping[str, str], names: Iterable[str]) -> str | None:
    """The column of the first name that is there; "Expected (gold)" and "Answer:" are known by their first part."""
    parts = {re.sub(r"_?(\(.*\)|[?:*])$", "", name): column for name, column in plain.items()}
    return next((found[name] for found in (plain, parts) for name in names if name in found), None)


def _longest(columns: Sequence[str], rows: Sequence[Row]) -> str:
    return max(columns, key=lambda column: sum(len(row.text(column)) for row in rows))


def _plain(column: str) -> str:
    return re.sub(r"[\s\-]+", "_", column.strip().casefold())


def _most(found: Iterable[object]) -> bool:
    told = [bool(each) for each in found]
    return bool(told) and sum(told) >= _MOSTLY * len(told)
