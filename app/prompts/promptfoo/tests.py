"""promptfoo's configuration, its lists of tests and its sheets, as tables of prompts."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from app.prompts.promptfoo.assertions import MOST_ASSERTIONS, check_of, read_expected
from app.prompts.promptfoo.filling import Filler, Template, template_of
from app.prompts.tables import MOST_PROMPTS, LeftOut, Row, Table
from engine.errors import InvalidRequestError

_MOST_VARIABLES = 1_000
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
    filler = Filler()
    for number, test in enumerate(tests, 1):
        place = f"test {number:,}"
        if len(rows) >= MOST_PROMPTS:
            left_out.append(LeftOut(place, f"is beyond the first {MOST_PROMPTS:,} prompts"))
            continue
        try:
            found, of, unheld = _rows(
                place, test, usual if isinstance(usual, dict) else {}, prompts, MOST_PROMPTS - len(rows), filler
            )
        except ValueError as error:
            left_out.append(LeftOut(place, str(error)))
            continue
        if len(found) < of:
            left_out.append(LeftOut(place, f"has prompts beyond the first {MOST_PROMPTS:,}"))
        rows += found
        dropped.update(unheld)
    return _table(name, rows, left_out, dropped, notes)


def tests_of_sheet(table: Table) -> Table:
    """A sheet whose columns ``__expected`` hold assertions; its other columns are variables."""
    rows: list[Row] = []
    left_out = list(table.left_out)
    dropped: Counter[str] = Counter()
    filler = Filler()
    for row in table.rows:
        assertions = [
            dict(zip(("type", "value"), read_expected(row.text(column)), strict=True))
            for column in row.cells
            if _EXPECTED.fullmatch(column) and row.text(column)
        ]
        cells = {column: cell for column, cell in row.cells.items() if not column.startswith("__")}
        try:
            values = {column: filler.value(cells.get(column)) for column in table.columns}
            check = check_of(assertions, partial(filler.text, values=values))
        except ValueError as error:
            left_out.append(LeftOut(row.place, str(error)))
            continue
        dropped.update(check.dropped)
        rows.append(Row(row.place, {**cells, **_checked(check.checker, check.expected)}))
    return _table("The sheet", rows, left_out, dropped, ())


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
    return Table(columns, tuple(rows), tuple(left_out), notes=tuple(notes))


def _prompts(value: Any) -> tuple[list[Template], list[str]]:
    """The prompts that stand in the file, and what to say of those that do not."""
    found: list[Template] = []
    elsewhere = 0
    for each in value if isinstance(value, list) else [value]:
        text = each.get("raw") or each.get("id") if isinstance(each, dict) else each
        if isinstance(text, str) and text.strip():
            elsewhere += text.startswith(_ELSEWHERE)
            found += [] if text.startswith(_ELSEWHERE) else [template_of(text)]
    notes = [f"Prompts that lie in other files and are left out: {elsewhere:,}."] if elsewhere else []
    return found, notes


def _rows(
    place: str, test: Any, usual: Mapping[str, Any], prompts: Sequence[Template], room: int, filler: Filler
) -> tuple[list[Row], int, Counter[str]]:
    """The first rows of a test, as many as there is room for; how many it has; and the assertions dropped."""
    values = _variables(test, usual)
    options = {key: value if prompts and isinstance(value, list) else [value] for key, value in values.items()}
    if empty := next((key for key, those in options.items() if not those), None):
        raise ValueError(f"has no value for its variable “{empty}”")
    texts = {key: [filler.value(each) for each in those] for key, those in options.items()}
    parts = [part for part in (usual.get("assert"), test.get("assert")) if isinstance(part, list)]
    assertions = list(itertools.islice(itertools.chain.from_iterable(parts), MOST_ASSERTIONS + 1))
    metadata, about = test.get("metadata"), test.get("description")
    id = about.strip() if isinstance(about, str) and about.strip() else place
    category = metadata.get("category") if isinstance(metadata, dict) else None
    category = category if isinstance(category, str) and category.strip() else "promptfoo"
    several = math.prod(map(len, options.values())) * max(1, len(prompts))
    rows: list[Row] = []
    dropped: Counter[str] = Counter()
    for entry, known in zip(_combined(options), _combined(texts), strict=True):
        if len(rows) >= room:
            break
        asked = [filler.prompt(prompt, known) for prompt in prompts[: room - len(rows)]] or [entry]
        check = check_of(assertions, partial(filler.text, values=known))
        dropped |= Counter(check.dropped)
        for cells in asked:
            n = len(rows) + 1
            named = {"id": id} if several == 1 else {"id": f"{id}.{n}", "template": id}
            kept = {**_checked(check.checker, check.expected), "category": category, **named, **cells}
            rows.append(Row(place if several == 1 else f"{place}.{n:,}", kept))
    return rows, several, dropped


def _variables(test: Any, usual: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(test, dict):
        raise ValueError("lies in another file, or is no test")
    usual_vars, own = usual.get("vars"), test.get("vars", {})
    if not isinstance(own, dict):
        raise ValueError("has variables that lie in another file, or are none")
    usual_vars = usual_vars if isinstance(usual_vars, dict) else {}
    if len(usual_vars) + len(own) > _MOST_VARIABLES:
        raise ValueError(f"has more than {_MOST_VARIABLES:,} variables")
    values = {**usual_vars, **own}
    for key, value in values.items():
        if isinstance(value, str) and value.startswith(_ELSEWHERE):
            raise ValueError(f"has its variable “{key}” in another file")
    return values


def _combined(options: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Each variable that is a list stands for each of its values."""
    return (dict(zip(options, each, strict=True)) for each in itertools.product(*options.values()))


def _checked(checker: str | None, expected: Any) -> dict[str, Any]:
    return {} if checker is None else {"checker": checker, "expected": expected}
