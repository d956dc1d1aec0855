"""promptfoo's configuration, its lists of tests and its sheets, as tables of prompts."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.prompts.promptfoo.assertions import check_of, read_expected
from app.prompts.tables import MOST_PROMPTS, LeftOut, Row, Table
from engine.errors import InvalidRequestError
from engine.untrusted import parse_json

_FILLED = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)\s*-?\}\}")
_TEMPLATE = re.compile(r"\{\{|\{%|\{#")
_ELSEWHERE = ("file://", "huggingface://", "http://", "https://", "exec:")
_EXPECTED = re.compile(r"__expected\d*")


def is_promptfoo(tree: Any) -> bool:
    """Whether a file's value is promptfoo's configuration or a list of its tests."""
    if isinstance(tree, dict):
        return isinstance(tree.get("tests"), list) and ("prompts" in tree or "providers" in tree)
    return isinstance(tree, list) and bool(tree) and all(isinstance(each, dict) and "vars" in each for each in tree)


def tests_of(name: str, tree: Any) -> Table:
    """The prompts of a configuration or of a list of tests: each prompt filled in with the variables of each test, of
    lists with every value. A list of tests without prompts has its variables as columns.

    Args:
        name: of the file.
        tree: what it holds.

    Raises:
        InvalidRequestError: it holds no test that can be read here.
    """
    tests = tree.get("tests") if isinstance(tree, dict) else tree
    usual = tree.get("defaultTest") if isinstance(tree, dict) else None
    if not isinstance(tests, list) or not tests:
        raise InvalidRequestError(f"{name} has no tests of promptfoo in it: they are a list under “tests”.")
    prompts, notes = _prompts(tree.get("prompts") if isinstance(tree, dict) else None)
    if isinstance(tree, dict) and not prompts:
        raise InvalidRequestError(
            f"{name} has no prompt in it: under “prompts” are none, or files, which do not come along."
        )
    rows: list[Row] = []
    left_out: list[LeftOut] = []
    dropped: Counter[str] = Counter()
    for number, test in enumerate(tests, 1):
        place = f"test {number:,}"
        if len(rows) >= MOST_PROMPTS:
            left_out.append(LeftOut(place, f"is beyond the first {MOST_PROMPTS:,} prompts"))
            continue
        try:
            found, unheld = _rows(place, test, usual if isinstance(usual, dict) else {}, prompts)
        except ValueError as error:
            left_out.append(LeftOut(place, str(error)))
            continue
        rows += found
        dropped.update(unheld)
    return _table(name, rows, left_out, dropped, notes)


def tests_of_sheet(table: Table) -> Table:
    """A sheet whose columns ``__expected`` hold assertions; its other columns are variables."""
    rows: list[Row] = []
    dropped: Counter[str] = Counter()
    for row in table.rows:
        assertions = [
            dict(zip(("type", "value"), read_expected(row.text(column)), strict=True))
            for column in row.cells
            if _EXPECTED.fullmatch(column) and row.text(column)
        ]
        check = check_of(assertions)
        dropped.update(check.dropped)
        cells = {column: cell for column, cell in row.cells.items() if not column.startswith("__")}
        rows.append(Row(row.place, {**cells, **_checked(check.checker, check.expected)}))
    return _table("The sheet", rows, list(table.left_out), dropped, ())


def is_sheet_of_tests(table: Table) -> bool:
    """Whether a sheet has columns of assertions."""
    return any(_EXPECTED.fullmatch(column) for column in table.columns)


def _table(
    name: str, rows: Sequence[Row], left_out: Sequence[LeftOut], dropped: Mapping[str, int], notes: Sequence[str]
) -> Table:
    if not rows:
        first = f" The first reason: {left_out[0]}." if left_out else ""
        raise InvalidRequestError(f"{name} has no test that can be asked.{first}")
    if dropped:
        told = ", ".join(f"{type} ({count:,})" for type, count in sorted(dropped.items(), key=lambda each: -each[1]))
        notes = (*notes, f"Assertions of promptfoo that no checker here holds, and which are left out: {told}.")
    columns = tuple(dict.fromkeys(column for row in rows for column in row.cells))
    return Table(columns, tuple(rows[:MOST_PROMPTS]), tuple(left_out), notes=tuple(notes))


def _prompts(value: Any) -> tuple[list[str], list[str]]:
    """The prompts that stand in the file, and what to say of those that do not."""
    found: list[str] = []
    elsewhere = 0
    for each in value if isinstance(value, list) else [value]:
        text = each.get("raw") or each.get("id") if isinstance(each, dict) else each
        if isinstance(text, str) and text.strip():
            elsewhere += text.startswith(_ELSEWHERE)
            found += [] if text.startswith(_ELSEWHERE) else [text]
    notes = [f"Prompts that lie in other files and are left out: {elsewhere:,}."] if elsewhere else []
    return found, notes


def _rows(place: str, test: Any, usual: Mapping[str, Any], prompts: Sequence[str]) -> tuple[list[Row], tuple[str, ...]]:
    if not isinstance(test, dict):
        raise ValueError("lies in another file, or is no test")
    usual_vars, own = usual.get("vars"), test.get("vars", {})
    if not isinstance(own, dict):
        raise ValueError("has variables that lie in another file, or are none")
    values = {**(usual_vars if isinstance(usual_vars, dict) else {}), **own}
    for key, value in values.items():
        if isinstance(value, str) and value.startswith(_ELSEWHERE):
            raise ValueError(f"has its variable “{key}” in another file")
    assertions = [each for part in (usual.get("assert"), test.get("assert")) if isinstance(part, list) for each in part]
    check = check_of(assertions)
    metadata, about = test.get("metadata"), test.get("description")
    id = about.strip() if isinstance(about, str) and about.strip() else place
    category = metadata.get("category") if isinstance(metadata, dict) else None
    cells = {
        **_checked(check.checker, check.expected),
        "category": category if isinstance(category, str) and category.strip() else "promptfoo",
    }
    if not prompts:
        return [Row(place, {**cells, "id": id, **values})], check.dropped
    filled = [_fill(prompt, each) for each in _combined(values) for prompt in prompts]
    if len(filled) == 1:
        return [Row(place, {**_asked(filled[0]), **cells, "id": id})], check.dropped
    numbered = enumerate(filled, 1)
    rows = [Row(f"{place}.{n:,}", {**_asked(text), **cells, "id": f"{id}.{n}", "template": id}) for n, text in numbered]
    return rows, check.dropped


def _combined(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each variable that is a list stands for each of its values."""
    options = [value if isinstance(value, list) else [value] for value in values.values()]
    combinations = itertools.product(*options)
    return (dict(zip(values, each, strict=True)) for each in itertools.islice(combinations, MOST_PROMPTS))


def _fill(prompt: str, values: Mapping[str, Any]) -> str:
    if _TEMPLATE.search(_FILLED.sub("", prompt)):
        raise ValueError("has a prompt with more than {{names}} in it, which is not filled in here")
    missing = next((name for name in _FILLED.findall(prompt) if name not in values), None)
    if missing is not None:
        raise ValueError(f"gives its prompt no variable “{missing}”")
    return _FILLED.sub(lambda found: _as_text(values[found[1]]), prompt)


def _asked(text: str) -> dict[str, Any]:
    """A prompt as cells; one that is JSON of a chat's messages is asked after those before the last."""
    try:
        turns = parse_json(text) if text.lstrip().startswith("[") else None
    except ValueError:
        turns = None
    if isinstance(turns, list) and turns and all(isinstance(turn, dict) and "role" in turn for turn in turns):
        last = turns[-1]
        if last.get("role") == "user" and isinstance(last.get("content"), str):
            return {"prompt": last["content"], **({"history": turns[:-1]} if turns[1:] else {})}
    return {"prompt": text}


def _checked(checker: str | None, expected: Any) -> dict[str, Any]:
    return {} if checker is None else {"checker": checker, "expected": expected}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
