"""Files of prompts as tables: CSV as spreadsheets write it, JSON, JSON lines, and plain text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from engine.errors import InvalidRequestError
from engine.untrusted import decode_text, parse_json, split_lines

MOST_PROMPTS = 5_000
MOST_BYTES = 64 * 2**20
LONGEST_PROMPT = 200_000
"""Characters: more than any model here reads."""
_LONGEST_CELL = 16 * 2**20
_DELIMITERS = ",;\t|"
_LINES_HELD = ("prompts", "tasks", "data", "rows", "questions", "items", "examples")
"""Under which a file of JSON may hold its list."""
_CHOICE = ("question", "A", "B", "C", "D", "answer")
SUFFIXES = ("csv", "tsv", "jsonl", "ndjson", "json", "txt")


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt's cells."""

    place: str
    """As the reader finds it: "row 3" of a sheet whose first row has the names, "line 3", "entry 3"."""
    cells: Mapping[str, Any]
    """By column, texts from a sheet, any JSON otherwise. Empty cells are left out."""

    def text(self, column: str) -> str:
        """A cell as text; empty where there is nothing in it."""
        value = self.cells.get(column)
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, bool | int | float):
            return f"{value:.15g}" if isinstance(value, float) else str(value)
        return ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not taken, and why."""

    place: str
    why: str
    """A clause that goes on from the place."""

    def __str__(self) -> str:
        return f"{self.place} {self.why}"


@dataclass(frozen=True, slots=True)
class Table:
    """A file of prompts."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...]
    plain: bool = False
    """Whether it is text, a prompt a line, in the column “prompt”."""
    notes: tuple[str, ...] = ()
    """What the reader should know of all of it, a sentence each."""


def read_table(name: str, data: bytes, *, of: str = "prompts") -> Table:
    """A file as a table; rows that cannot be read are left out, each with its reason.

    Args:
        name: of the file; its ending says what it is, and where it says nothing, its first character does.
        data: its bytes, in UTF-8 or what their byte-order mark says.
        of: what its rows are, as the reader is told of those beyond the first :data:`MOST_PROMPTS`.

    Raises:
        InvalidRequestError: it is too large, no text, not what its ending says, or without a row.
    """
    if len(data) > MOST_BYTES:
        raise InvalidRequestError(f"{name} has more than {MOST_BYTES >> 20} MB. Upload it in parts.")
    try:
        text = decode_text(data, name)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{error} A spreadsheet does so by “Save as”, “CSV UTF-8”.") from error
    if not text.strip():
        raise InvalidRequestError(f"{name} is empty. It needs a prompt at least.")
    match _kind(name, text):
        case "csv":
            table = _read_sheet(name, text)
        case "jsonl":
            table = _read_lines(text)
        case "json":
            table = _read_json(name, text)
        case _:
            lines = split_lines(text)
            rows = [Row(f"line {n:,}", {"prompt": line.strip()}) for n, line in enumerate(lines, 1) if line.strip()]
            table = Table(("prompt",), tuple(rows), (), plain=True)
    if not table.rows:
        first = f" The first reason: {table.left_out[0]}." if table.left_out else ""
        raise InvalidRequestError(f"{name} has no row that can be read.{first}")
    beyond = [LeftOut(row.place, f"is beyond the first {MOST_PROMPTS:,} {of}") for row in table.rows[MOST_PROMPTS:]]
    return Table(table.columns, table.rows[:MOST_PROMPTS], (*table.left_out, *beyond), table.plain)


def _kind(name: str, text: str) -> str:
    ending = PurePath(name.casefold()).suffix.lstrip(".")
    start = text.lstrip()[:1]
    if ending in ("csv", "tsv"):
        return "csv"
    if ending in ("jsonl", "ndjson"):
        return "json" if start == "[" else "jsonl"
    if ending == "json" or start in ("[", "{"):
        # several objects, one a line, are often called .json as well
        first, _, rest = text.strip().partition("\n")
        return "jsonl" if start == "{" and rest.lstrip().startswith("{") and _is_object(first) else "json"
    return "txt"


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def _read_sheet(name: str, text: str) -> Table:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_delimiter(text))
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    columns: list[str] = []
    number = 0
    try:
        for number, cells in enumerate(reader, 1):
            if not any(cell.strip() for cell in cells):
                continue
            place = f"row {number:,}"
            if not columns and (columns := _unnamed_choice(cells)):
                rows.append(Row(place, dict(zip(columns, cells, strict=True))))
            elif not columns:
                columns = _names(name, cells)
            elif any(cell.strip() for cell in cells[len(columns) :]):
                left_out.append(
                    LeftOut(
                        place,
                        f"has {len(cells):,} cells for {len(columns):,} columns: put quotes around a cell with "
                        "a separator in it",
                    )
                )
            else:
                filled = zip(columns, cells, strict=False)
                rows.append(Row(place, {column: cell for column, cell in filled if cell.strip()}))
    except csv.Error as error:
        what_to_do = "Close each quote that opens a cell, and double those in it."
        raise InvalidRequestError(f"Row {number + 1:,} of {name} is no CSV ({error}). {what_to_do}") from error
    return Table(tuple(columns), tuple(rows), tuple(left_out))


def _delimiter(text: str) -> str:
    """The separator that stands most often in the first line, outside of quotes."""
    first = text.lstrip("\r\n").split("\n", 1)[0]
    unquoted = "".join(first.split('"')[::2])
    return max(_DELIMITERS, key=lambda mark: (unquoted.count(mark), -_DELIMITERS.index(mark)))


def _unnamed_choice(cells: Sequence[str]) -> list[str]:
    """The columns of a file that begins with a question, its four options and the letter of the right one, as MMLU's
    do, which have no names; empty for any other."""
    filled = len(cells) == len(_CHOICE) and all(cell.strip() for cell in cells)
    return list(_CHOICE) if filled and cells[-1].strip() in _CHOICE[1:-1] else []


def _names(name: str, cells: Sequence[str]) -> list[str]:
    names = [cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1)]
    while len(names) > 1 and not cells[len(names) - 1].strip():
        names.pop()  # separators that a spreadsheet left at the line's end
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        raise InvalidRequestError(f"{name} has two columns that are called “{twice}”. Rename one of them.")
    return names


def _read_lines(text: str) -> Table:
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    for number, line in enumerate(split_lines(text), 1):
        if not line.strip():
            continue
        place = f"line {number:,}"
        try:
            value = parse_json(line)
        except ValueError as error:
            left_out.append(LeftOut(place, f"is no JSON: {error}"))
            continue
        row = _row(place, value)
        if isinstance(row, Row):
            rows.append(row)
        else:
            left_out.append(row)
    return Table(_columns(rows), tuple(rows), tuple(left_out))


def _read_json(name: str, text: str) -> Table:
    try:
        tree = parse_json(text)
    except ValueError as error:
        raise InvalidRequestError(f"{name} is no JSON: {error}.") from error
    if isinstance(tree, dict):
        lists = [tree[key] for key in _LINES_HELD if isinstance(tree.get(key), list)]
        tree = lists[0] if lists else [tree]
    if not isinstance(tree, list):
        raise InvalidRequestError(f"{name} holds no list of prompts: begin it with [ and put an object for each in it.")
    found = [_row(f"entry {number:,}", value) for number, value in enumerate(tree, 1)]
    rows = [row for row in found if isinstance(row, Row)]
    return Table(_columns(rows), tuple(rows), tuple(row for row in found if isinstance(row, LeftOut)))


def _row(place: str, value: Any) -> Row | LeftOut:
    if isinstance(value, str):
        return Row(place, {"prompt": value}) if value.strip() else LeftOut(place, "is empty")
    if not isinstance(value, dict):
        return LeftOut(place, "is neither an object, such as {…}, nor a text")
    return Row(place, {key: cell for key, cell in value.items() if cell is not None and cell != ""})


def _columns(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(column for row in rows for column in row.cells))
