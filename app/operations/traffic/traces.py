"""Recorded traces, read line by line however long they are.

Three kinds, told apart by their first line: the CSV of Azure's public traces of LLM inference (``TIMESTAMP``,
``ContextTokens``, ``GeneratedTokens``), the JSONL of Mooncake's (``timestamp`` in ms, ``input_length``,
``output_length``, ``hash_ids``), and Gearbox's own JSONL of messages (``at`` in seconds, ``messages``, ``max_tokens``,
``session``). Times count from the first row, wherever a trace was cut out.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from app.operations.traffic.arrivals import BLOCK_TOKENS, Arrival, Lengths, Messages, Trace, TraceError
from engine.untrusted import parse_json, valid_text

_LONGEST_LINE = 16 * 2**20
"""Bytes; a longer one is no trace."""
_MOST_TOKENS = 10_000_000
_LONGEST_S = 10**9
"""About 30 years."""

_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MOONCAKE = ("timestamp", "input_length", "output_length")
_OWN = ("at", "messages", "max_tokens")
_OWN_OPTIONAL = ("session",)
_KINDS = (
    f"Azure's CSV ({', '.join(_AZURE)}), Mooncake's JSONL ({', '.join(_MOONCAKE)}, hash_ids) or a JSONL of messages "
    f"({', '.join((*_OWN, *_OWN_OPTIONAL))})"
)

_Row: TypeAlias = Mapping[str, Any]
_Parse: TypeAlias = Callable[[_Row], Arrival]
"""A row to a request, whose time counts from any moment.

Raises:
    _FieldError: a field is missing or has a value that it cannot have.
"""


class _FieldError(Exception):
    """Says what is wrong with which field."""

    def __init__(self, name: str, wrong: str) -> None:
        super().__init__(f"{name} {wrong}.")


@dataclass(frozen=True, slots=True)
class _Line:
    """One that is not empty, and where it stands, from 1."""

    number: int
    text: str

    def error(self, wrong: str) -> TraceError:
        return TraceError(f"Line {self.number:,}: {wrong}")


def trace_of(path: Path) -> Trace:
    """The trace in a file, which is opened anew each time and held open while it is read.

    Its iterator raises TraceError: the file is no trace of a known kind, a row lacks a field or has a value that the
    field cannot have, or a row comes before the one above it. OSError: the file cannot be read.
    """
    return lambda: _arrivals(path)


def _arrivals(path: Path) -> Iterator[Arrival]:
    with path.open("rb") as file:
        lines = _lines(file)
        first = next(lines, None)
        if first is None:
            raise TraceError("The file is empty.")
        begun: float | None = None
        last = 0.0
        for line, arrival in _rows(first, lines):
            begun = arrival.at_s if begun is None else begun
            at_s = arrival.at_s - begun
            if at_s < last:
                raise line.error(f"its time is {last - at_s:g} s before that of the row above. Sort the rows by time.")
            last = at_s
            yield replace(arrival, at_s=at_s)


def _lines(file: BinaryIO) -> Iterator[_Line]:
    number = 0
    while raw := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(raw) > _LONGEST_LINE:
            raise TraceError(f"Line {number:,}: it has more than {_LONGEST_LINE:,} bytes.")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise TraceError(f"Line {number:,}: it is not text in UTF-8.") from None
        if text.strip():
            yield _Line(number, text.rstrip("\r\n"))


def _rows(first: _Line, rest: Iterator[_Line]) -> Iterator[tuple[_Line, Arrival]]:
    """The kind is that of the first line."""
    if not first.text.lstrip().startswith("{"):
        names = [name.strip() for name in _fields_of(first)]
        if any(name not in names for name in _AZURE):
            raise first.error(f"no trace of a known kind begins so. It must be {_KINDS}.")
        for line in rest:
            fields = _fields_of(line)
            if len(fields) != len(names):
                raise line.error(f"it has {len(fields)} fields, and the first line names {len(names)}.")
            yield line, _parsed(line, dict(zip(names, fields, strict=True)), _azure)
        return
    row = _object_of(first)
    parse = _own if "messages" in row else _mooncake if any(name in row for name in _MOONCAKE) else None
    if parse is None:
        raise first.error(f"no trace of a known kind begins so. It must be {_KINDS}.")
    yield first, _parsed(first, row, parse)
    for line in rest:
        yield line, _parsed(line, _object_of(line), parse)


def _parsed(line: _Line, row: _Row, parse: _Parse) -> Arrival:
    try:
        return parse(row)
    except _FieldError as error:
        raise line.error(str(error)) from None


def _fields_of(line: _Line) -> list[str]:
    try:
        return next(csv.reader([line.text], strict=True))
    except csv.Error as error:
        raise line.error(f"it is no CSV ({error}).") from None


def _object_of(line: _Line) -> _Row:
    try:
        row = parse_json(line.text)
    except ValueError as error:
        raise line.error(f"it is no JSON ({error}).") from None
    if not isinstance(row, dict):
        raise line.error("a JSON object is needed, such as {…}.")
    return row


def _azure(row: _Row) -> Arrival:
    name = _AZURE[0]
    try:
        at = datetime.fromisoformat(row[name].strip())
        at_s = (at - datetime(1970, 1, 1, tzinfo=at.tzinfo)).total_seconds()
    except ValueError:
        raise _FieldError(name, f"is {_shown(row[name])}, and must be a time such as 2023-11-16 18:15:46.68") from None
    tokens, answered = (_count(row, name, _digits(row[name]), least=0) for name in _AZURE[1:])
    return Arrival(at_s=at_s, prompt=Lengths(max(tokens, 1)), max_tokens=max(answered, 1))


def _mooncake(row: _Row) -> Arrival:
    _require(row, _MOONCAKE)
    at_s = _number(row, "timestamp") / 1000
    tokens, answered = (_count(row, name, row[name], least=0) for name in _MOONCAKE[1:])
    ids = row.get("hash_ids") or []
    if not isinstance(ids, list) or not all(_is_whole(value) for value in ids):
        raise _FieldError("hash_ids", "must be a list of whole numbers")
    blocks = -(-tokens // BLOCK_TOKENS)
    if len(ids) > max(blocks, 1):
        raise _FieldError("hash_ids", f"has {len(ids):,} blocks, and {tokens:,} tokens have {blocks:,}")
    return Arrival(at_s=at_s, prompt=Lengths(max(tokens, 1), tuple(ids)), max_tokens=max(answered, 1))


def _own(row: _Row) -> Arrival:
    _require(row, _OWN)
    for name in row:
        if name not in (*_OWN, *_OWN_OPTIONAL):
            raise _FieldError(_shown(name), f"is not known: there are {', '.join((*_OWN, *_OWN_OPTIONAL))}")
    session = row.get("session")
    if session is not None and not isinstance(session, str):
        raise _FieldError("session", f"is {_shown(session)}, and must be a text")
    return Arrival(
        at_s=_number(row, "at"),
        prompt=_messages(row["messages"]),
        max_tokens=_count(row, "max_tokens", row["max_tokens"], least=1),
        session=session,
    )


def _messages(value: Any) -> Messages:
    if not isinstance(value, list) or not value:
        raise _FieldError("messages", "must be a list with a message at least")
    for number, message in enumerate(value, 1):
        match message:
            case {"role": str(), "content": str() | list()}:
                continue
            case _:
                raise _FieldError("messages", f'has as number {number} no {{"role": "…", "content": "…"}}')
    return tuple(value)


def _require(row: _Row, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in row:
            raise _FieldError(name, "is missing")


def _number(row: _Row, name: str) -> float:
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_S * 1000:
        raise _FieldError(name, f"is {_shown(value)}, and must be a number of at least 0 and no more than decades")
    return float(value)


def _digits(text: str) -> int | float:
    """NaN for what is no whole number."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else math.nan


def _count(row: _Row, name: str, value: Any, *, least: int) -> int:
    if not _is_whole(value) or not least <= value <= _MOST_TOKENS:
        raise _FieldError(
            name, f"is {_shown(row[name])}, and must be a whole number of {least} to {_MOST_TOKENS:,} tokens"
        )
    return int(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = valid_text(str(value))
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
