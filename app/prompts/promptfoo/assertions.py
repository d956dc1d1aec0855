"""What promptfoo's assertions come to: one of the project's checkers, with what it expects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from app.prompts.promptfoo.filling import template_of
from engine.evaluation.judge import JUDGED

MOST_ASSERTIONS = 100
"""Of one test."""
_FILE = "file://"
_NUMBERED = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[1-9k]|\(\?(?:P|\(|<(?![=!])|[aiLmsux]+\)))")
"""A reference to a group, a named group, or flags of a whole pattern."""
_WITHOUT_A_VALUE = ("is-json", "contains-json")
Assertion = tuple[str, Any]
"""Its type and its value."""


@dataclass(frozen=True, slots=True)
class Check:
    """How answers to a test are checked."""

    checker: str | None
    expected: Any
    dropped: tuple[str, ...]
    """The types of assertions that no checker here holds, or not together with the others."""


def check_of(assertions: Any, fill: Callable[[str], str] = str) -> Check:
    """The checker that holds a test's assertions. Those of texts are held together by one pattern.

    Args:
        assertions: as the file has them.
        fill: fills the variables of a test in a text; raises ValueError where that cannot be done, and the assertion
            is dropped.

    Raises:
        ValueError: there are too many. The message is a clause.
    """
    found = list(islice(_flat(assertions), MOST_ASSERTIONS + 1))
    if len(found) > MOST_ASSERTIONS:
        raise ValueError(f"has more than {MOST_ASSERTIONS:,} assertions")
    known: list[Assertion] = []
    unread: list[str] = []
    for type, value in filter(None, found):
        try:
            known.append((type, _filled(value, fill)))
        except ValueError:
            unread.append(type)
    return _check_of(known, unread)


def _check_of(known: Sequence[Assertion], unread: Sequence[str]) -> Check:
    texts = [(type, _PATTERNS[type.removeprefix("not-")](value)) for type, value in known if _is_textual(type, value)]
    if len(texts) > 1 or (texts and texts[0][0].startswith("not-")):
        unread = [*unread, *(type for type, pattern in texts if _stands_alone(type, pattern))]
        texts = [each for each in texts if not _stands_alone(*each)]
    others = [each for each in known if not _is_textual(*each)]
    whole = [(type, found) for type, value in others if (found := _whole(type, value))]
    unheld = [*unread, *(type for type, value in others if not _whole(type, value))]
    if texts and len(known) == 1 and known[0][0] == "equals":
        return Check("exact", _text(known[0][1]), tuple(unread))
    if texts:
        return Check("regex", {"pattern": _together(texts)}, (*unheld, *(type for type, _ in whole)))
    if whole:
        checker, expected = whole[0][1]
        return Check(checker, expected, (*unheld, *(type for type, _ in whole[1:])))
    return Check(None, None, tuple(unheld))


def read_expected(cell: str) -> Assertion:
    """An assertion as a cell of a sheet has it: ``contains: Paris``; a text alone is to be equalled."""
    cell = cell.strip()
    type, colon, value = cell.partition(":")
    type = type.strip()
    if cell in _WITHOUT_A_VALUE:
        return cell, None
    if not colon or not re.fullmatch(r"[a-z][a-z-]*(\([\d.]+\))?", type):
        return "equals", cell
    bare = type.partition("(")[0]
    if bare.removeprefix("not-") in _LISTS:
        return bare, [part.strip() for part in value.split(",") if part.strip()]
    return bare, value.strip()


def _flat(assertions: Any) -> Iterator[Assertion | None]:
    """Those of sets too; ``None`` for each that counts for nothing."""
    for each in assertions if isinstance(assertions, list) else ():
        if not isinstance(each, dict) or each.get("weight") == 0:
            yield None
            continue
        inner = each.get("assert")
        if each.get("type") == "assert-set" and isinstance(inner, list) and "threshold" not in each:
            yield None
            yield from _flat(inner)
        else:
            yield str(each.get("type")), each.get("value")


def _filled(value: Any, fill: Callable[[str], str]) -> Any:
    """A text, or a list's texts, filled in; other values have no variables in promptfoo either."""
    if isinstance(value, list):
        return [_filled(each, fill) if isinstance(each, str) else each for each in value]
    if isinstance(value, str):
        if value.startswith(_FILE):
            raise ValueError("lies in another file")
        return fill(value)
    return value


def _is_textual(type: str, value: Any) -> bool:
    bare = type.removeprefix("not-")
    if bare not in _PATTERNS:
        return False
    if bare in _LISTS:
        return isinstance(value, list) and bool(value) and all(_is_plain(each) for each in value)
    return _is_plain(value)


def _whole(type: str, value: Any) -> tuple[str, Any] | None:
    """The checker of an assertion that stands alone."""
    if type in _WITHOUT_A_VALUE:
        schema = template_of(value) if isinstance(value, str) and value.strip() else value or {}
        return ("schema", {"schema": schema}) if isinstance(schema, dict) else None
    if type == "equals" and isinstance(value, dict | list):
        return "json", value
    if type == "factuality" and isinstance(value, str) and value.strip():
        return JUDGED, value
    return None


def _stands_alone(type: str, pattern: str) -> bool:
    """Whether a pattern means something else inside another: groups are numbered and named once in a whole pattern,
    and its flags hold for all of it."""
    return type.removeprefix("not-") == "regex" and _NUMBERED.search(pattern) is not None


def _together(patterns: Sequence[tuple[str, str]]) -> str:
    if len(patterns) == 1 and not patterns[0][0].startswith("not-"):
        return patterns[0][1]
    return rf"\A{''.join(_look(*each) for each in patterns)}"


def _look(type: str, pattern: str) -> str:
    """From the beginning on it is found, or is not."""
    return rf"(?{'!' if type.startswith('not-') else '='}[\s\S]*?(?:{pattern}))"


def _literal(value: Any) -> str:
    return re.escape(_text(value))


def _any(values: Sequence[Any]) -> str:
    return "|".join(map(_literal, values))


def _all(values: Sequence[Any]) -> str:
    return rf"\A{''.join(_look('contains', _literal(value)) for value in values)}"


_PATTERNS: Mapping[str, Callable[[Any], str]] = {
    "equals": lambda value: rf"\A{_literal(value)}\Z",
    "contains": _literal,
    "icontains": lambda value: f"(?i:{_literal(value)})",
    "contains-any": _any,
    "icontains-any": lambda values: f"(?i:{_any(values)})",
    "contains-all": _all,
    "icontains-all": lambda values: f"(?i:{_all(values)})",
    "starts-with": lambda value: rf"\A{_literal(value)}",
    "regex": lambda value: _text(value),
}
_LISTS = ("contains-any", "icontains-any", "contains-all", "icontains-all")


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and bool(_text(value).strip())


def _text(value: Any) -> str:
    """A value as promptfoo compares with it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
