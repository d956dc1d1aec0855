"""Rows of a measurement as a text table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

Row = dict[str, Any]

WIDTH = 150
"""Characters of a line; a wider table goes on below."""
LABELS = 3
"""Columns that say what a row is, repeated where the table goes on."""


def print_table(rows: Sequence[Row]) -> None:
    """One line a row, columns as wide as their content, a few of them at a time; a table for each set of columns."""
    for of_a_kind in (list(group) for _, group in groupby(rows, key=list)):
        _print_columns([[name, *(text_of(row[name]) for row in of_a_kind)] for name in of_a_kind[0]])


def _print_columns(columns: list[list[str]]) -> None:
    for part in _parts(columns):
        widths = [max(map(len, column)) for column in part]
        for line in zip(*part, strict=True):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        print()


def _parts(columns: list[list[str]]) -> Iterator[list[list[str]]]:
    """The columns in groups that fit a line, the first ones in each group."""
    labels, rest = columns[:LABELS], columns[LABELS:]
    part = labels[:]
    for column in rest:
        if len(part) > len(labels) and sum(2 + max(map(len, c)) for c in [*part, column]) > WIDTH:
            yield part
            part = labels[:]
        part.append(column)
    yield part


def text_of(value: Any) -> str:
    """A value as a table has it."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return "–" if value is None else str(value)
