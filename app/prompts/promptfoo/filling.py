"""Templates of promptfoo, and what they are once their variables are filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.prompts.tables import LONGEST_PROMPT
from engine.untrusted import parse_json

Template = str | list[Any] | dict[str, Any]
"""A text, or the tree of one that is JSON: there the strings are filled in, so that no variable breaks the JSON."""

MOST_FILLED = 128 * 2**20
"""Characters of templates, of values and of what comes of them in one file, each text counted as some more."""
_A_TEXT = 64
_FILLED = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)\s*-?\}\}")
_TEMPLATE = re.compile(r"\{\{|\{%|\{#")


def template_of(text: str) -> Template:
    """A prompt or a part of one as it is filled in."""
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        tree = parse_json(text)
    except ValueError:
        return text
    return tree if isinstance(tree, list | dict) else text


class Filler:
    """Fills in the templates of one file, within its bounds."""

    def __init__(self) -> None:
        self._characters = 0

    def text(self, template: str, values: Mapping[str, str]) -> str:
        """A text with its variables filled in.

        Raises:
            ValueError: it has more than names in it, one without a value, or would be too long. So says
                :meth:`prompt` too; the message is a clause.
        """
        self._reckon(template, values)
        return _substituted(template, values)

    def prompt(self, template: Template, values: Mapping[str, str]) -> dict[str, Any]:
        """The cells of a prompt; one that is a chat's messages is asked after those before the last."""
        self._reckon(template, values)
        filled = _in_tree(template, values)
        tree = template_of(filled) if isinstance(filled, str) else filled
        if isinstance(tree, list) and tree and all(isinstance(turn, dict) and "role" in turn for turn in tree):
            last = tree[-1]
            if last.get("role") == "user" and isinstance(last.get("content"), str):
                return {"prompt": last["content"], **({"history": tree[:-1]} if tree[1:] else {})}
        return {"prompt": filled if isinstance(filled, str) else json.dumps(filled, ensure_ascii=False, indent=2)}

    def value(self, value: Any) -> str:
        """A variable's value as promptfoo writes it into a text.

        Raises:
            ValueError: it is a list or an object that is too long. The message is a clause.
        """
        self._charge(_A_TEXT)
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list | dict):
            parts, length = _size(value)
            self._charge(length + _A_TEXT * parts)
            if length > LONGEST_PROMPT:
                raise ValueError("has a variable that is longer than any model here reads")
            return json.dumps(value, ensure_ascii=False)
        return "" if value is None else str(value)

    def _reckon(self, template: Template, values: Mapping[str, str]) -> None:
        """Count what will be filled in before anything is."""
        length = 0
        for text in _texts(template):
            self._charge(len(text) + _A_TEXT)
            _check_names(text, values)
            length += len(text) + sum(len(values[name[1]]) - len(name[0]) for name in _FILLED.finditer(text))
        if length > LONGEST_PROMPT:
            raise ValueError(f"has {length:,} characters when it is filled in, more than any model here reads")
        self._charge(length)

    def _charge(self, characters: int) -> None:
        self._characters += characters
        if self._characters > MOST_FILLED:
            raise ValueError(f"is beyond the first {MOST_FILLED >> 20} MB of filled in texts")


def _check_names(text: str, values: Mapping[str, str]) -> None:
    if _TEMPLATE.search(_FILLED.sub("", text)):
        raise ValueError("has a prompt with more than {{names}} in it, which is not filled in here")
    missing = next((name for name in _FILLED.findall(text) if name not in values), None)
    if missing is not None:
        raise ValueError(f"gives its prompt no variable “{missing}”")


def _substituted(text: str, values: Mapping[str, str]) -> str:
    return _FILLED.sub(lambda found: values[found[1]], text)


def _in_tree(tree: Any, values: Mapping[str, str]) -> Any:
    match tree:
        case str():
            return _substituted(tree, values)
        case list():
            return [_in_tree(each, values) for each in tree]
        case dict():
            return {key: _in_tree(each, values) for key, each in tree.items()}
        case _:
            return tree


def _size(tree: Any) -> tuple[int, int]:
    """How many values a tree has, and about how many characters as JSON."""
    values = length = 0
    waiting = [tree]
    while waiting:
        each = waiting.pop()
        values += 1
        length += len(each) if isinstance(each, str) else 2
        if isinstance(each, dict):
            length += sum(map(len, each))
        waiting += each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
    return values, length


def _texts(tree: Any) -> Iterator[str]:
    """The strings in a tree, keys left aside."""
    match tree:
        case str():
            yield tree
        case list():
            for each in tree:
                yield from _texts(each)
        case dict():
            for each in tree.values():
                yield from _texts(each)
