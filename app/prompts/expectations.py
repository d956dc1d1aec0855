"""What a checker is to expect, read from the cells of a row."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.prompts.tables import Row
from engine.evaluation.expected import expected_of
from engine.untrusted import parse_json

_NUMBER = re.compile(r"[-+−]?\s*[$€£]?\s*(\d{1,3}(?:[,\u00a0\u202f' ]\d{3})+|\d+)?(\.\d+)?(?:[eE][-+]?\d+)?\s*[%$€£]?")
_IN_PROMPT = re.compile(r"^[ \t]*[(\[]?([A-Z])[).:\]][ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
_SLASHED = re.compile(r"/(.+)/[a-z]*", re.DOTALL)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def read_expected(checker: str, row: Row, column: str) -> Any:
    """What a checker other than ``choice`` expects.

    Args:
        checker: one of the engine's.
        row: whose cells they are.
        column: of what is expected.

    Raises:
        ValueError: it cannot be compared with. The message goes on from "row 3 ".
    """
    value = row.cells.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError(f"has no text in column “{column}”")
    try:
        return expected_of(checker, _READERS.get(checker, _text)(value))
    except ValueError as error:
        raise ValueError(f"cannot be checked by column “{column}”: {str(error).rstrip('.')}") from error


def read_choice(prompt: str, row: Row, column: str, options_in: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The prompt as it is asked with its options, and what ``choice`` expects.

    Args:
        prompt: of the row.
        row: whose cells they are.
        column: of the answer: a letter, or an option's text.
        options_in: the column that holds the options, or one for each; none where they stand in the prompt.

    Raises:
        ValueError: there are no options, or the answer is none of them. The message goes on from "row 3 ".
    """
    labels, options = options_of(prompt, row, options_in)
    if len(options) < 2:
        where = f"column “{options_in[0]}”" if options_in else "the prompt, as lines that begin “A)”, “B)”"
        raise ValueError(f"has no options in {where}")
    if len(options) > len(_LETTERS):
        raise ValueError(f"has {len(options)} options, and at most {len(_LETTERS)} can be told apart")
    answer = row.text(column)
    if not answer:
        raise ValueError(f"has no text in column “{column}”")
    letter = _letter(answer, labels, options)
    if letter is None:
        raise ValueError(
            f"has “{answer[:40]}” in column “{column}”, which is neither a letter from A to "
            f"{_LETTERS[len(options) - 1]} nor one of its options"
        )
    if options_in:
        listed = "\n".join(f"{mark}) {option}" for mark, option in zip(_LETTERS, options, strict=False))
        prompt = f"{prompt}\n\n{listed}\n\nAnswer with the letter alone."
    return prompt, expected_of("choice", {"options": options, "answer": letter})


def options_of(prompt: str, row: Row, options_in: Sequence[str]) -> tuple[list[str], list[str]]:
    """The labels and texts of a row's options; none where there are none."""
    if len(options_in) > 1:
        options = [row.text(column) for column in options_in if row.text(column)]
        return list(_LETTERS[: len(options)]), options
    if options_in:
        return _listed(row.cells.get(options_in[0]))
    found = [(letter, option) for letter, option in _IN_PROMPT.findall(prompt)]
    in_order = [option for place, (letter, option) in enumerate(found) if letter == _LETTERS[place % 26]]
    return list(_LETTERS[: len(in_order)]), in_order


def _listed(value: Any) -> tuple[list[str], list[str]]:
    if isinstance(value, str):
        text = value.strip()
        try:
            value = parse_json(text) if text[:1] in ("[", "{") else None
        except ValueError:
            value = None
        if value is None:
            mark = next((mark for mark in ("\n", "|", ";", ",") if mark in text), "\n")
            value = [part.strip() for part in text.split(mark) if part.strip()]
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # as ARC writes them
        options = [str(option) for option in value["text"]]
        labels = [str(label) for label in value.get("label", [])]
        return labels if len(labels) == len(options) else list(_LETTERS[: len(options)]), options
    if isinstance(value, dict):
        return [str(label) for label in value], [str(option) for option in value.values()]
    options = [str(option) for option in value] if isinstance(value, list) else []
    return list(_LETTERS[: len(options)]), options


def _letter(answer: str, labels: Sequence[str], options: Sequence[str]) -> str | None:
    plain = [option.casefold().strip() for option in options]
    bare = answer.strip("() .:")
    for known in ([label.casefold() for label in labels], plain):
        for said in (bare.casefold(), answer.casefold().strip()):
            if said in known:
                return _LETTERS[known.index(said)]
    return None


def as_number(text: str) -> float | None:
    """A cell that is a number, with or without a currency, a percent sign or marks of thousands."""
    found = _NUMBER.fullmatch(text.strip())
    if not found or not (found[1] or found[2]):
        return None
    bare = re.sub(r"[^\d.eE+\-−]", "", text).replace("−", "-")
    try:
        return float(bare)
    except ValueError:
        return None


def tested_function(tests: str) -> str | None:
    """The function that tests call in their first assertion; ``None`` where they are no such tests."""
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    asserted = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    calls = (call for node in asserted for call in ast.walk(node) if isinstance(call, ast.Call))
    return next((call.func.id for call in calls if isinstance(call.func, ast.Name)), None)


def _text(value: Any) -> Any:
    return f"{value:.15g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = as_number(value)
    if found is None:
        raise ValueError(f"“{value.strip()[:40]}” is no number")
    return found


def _pattern(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    text = str(value).strip()
    slashed = _SLASHED.fullmatch(text)
    return {"pattern": slashed[1] if slashed else text}


def _tests(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    entry = tested_function(str(value))
    if entry is None:
        raise ValueError("it has no Python such as “assert half(4) == 2”")
    return {"tests": str(value), "entry": entry}


_READERS: Mapping[str, Callable[[Any], Any]] = {"number": _number, "regex": _pattern, "code": _tests}
