"""A TOML file's keys and values, checked: what is wrong is told by the file's own key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from app.experiments.planning.design import DesignError
from engine.untrusted import decode_text

E = TypeVar("E", bound=StrEnum)

Kind = tuple[type | tuple[type, ...], str]
"""What a value is, and that in words."""
TEXT: Kind = (str, "a text")
WHOLE: Kind = (int, "a whole number")
NUMBER: Kind = ((int, float), "a number")
TRUTH: Kind = (bool, "true or false")
LIST: Kind = (list, "a list")

_MOST_BYTES = 2**20


def read_tree(path: Path) -> dict[str, Any]:
    """A TOML file.

    Raises:
        InvalidRequestError: it is no text.
        DesignError: it cannot be read, or is no TOML.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DesignError(f"{path.name} has more than {_MOST_BYTES >> 20} MiB: it is no description.")
        return parse_tree(path.read_bytes(), path.name)
    except OSError as error:
        raise DesignError(f"{path} cannot be read: {error.strerror or error}.") from error


def parse_tree(data: bytes, name: str) -> dict[str, Any]:
    """The bytes of a TOML file.

    Raises:
        InvalidRequestError: they are no text.
        DesignError: they are no TOML, or too many.
    """
    if len(data) > _MOST_BYTES:
        raise DesignError(f"{name} has more than {_MOST_BYTES >> 20} MiB: it is no description.")
    try:
        return tomllib.loads(decode_text(data, name))
    except tomllib.TOMLDecodeError as error:
        raise DesignError(f"{name} is no TOML: {error}.") from error
    except RecursionError as error:
        raise DesignError(f"{name} is no TOML that can be read: it is nested too deeply.") from error


def tables(key: str) -> Kind:
    """Of a key that stands for several tables."""
    return list, f"tables that begin with [[{key}]]"


def table(key: str) -> Kind:
    """Of a key that stands for one table."""
    return dict, f"a table that begins with [{key}]"


def check_keys(tree: Mapping[str, Any], kinds: Mapping[str, Kind], what: str) -> None:
    """See that a table has no other keys than these, and of each the right kind of value.

    Args:
        tree: the table.
        kinds: by key.
        what: the table stands for, for the message.

    Raises:
        DesignError: it has.
    """
    for key, value in tree.items():
        if key not in kinds:
            raise DesignError(f"“{key[:60]}” is not known here. {what} has: {', '.join(kinds)}.")
        kind, words = kinds[key]
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            raise DesignError(f"“{key}” must be {words}.")


def text(tree: Mapping[str, Any], key: str, usual: str | None = None) -> str:
    """A text; ``None`` as the usual one says that there must be one.

    Raises:
        DesignError: it is missing.
    """
    value = tree.get(key, usual)
    if value is None:
        raise DesignError(f"“{key}” is missing.")
    return str(value)


def texts(tree: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts.

    Raises:
        DesignError: not all of them are.
    """
    values = tree.get(key, [])
    if not all(isinstance(value, str) for value in values):
        raise DesignError(f"“{key}” must be a list of texts.")
    return list(values)


def choice(kind: type[E], tree: Mapping[str, Any], key: str, usual: E | None) -> E:
    """One of several words.

    Raises:
        DesignError: it is another one.
    """
    return one_of(kind, tree.get(key, usual), key)


def choices(kind: type[E], tree: Mapping[str, Any], key: str, usual: tuple[E, ...]) -> tuple[E, ...]:
    """Some of several words.

    Raises:
        DesignError: one is another one.
    """
    return tuple(one_of(kind, each, key) for each in tree.get(key, usual))


def one_of(kind: type[E], value: Any, key: str) -> E:
    """A value of a key as one of several words.

    Raises:
        DesignError: it is another one.
    """
    if value not in list(kind):
        raise DesignError(f"“{key}” is “{str(value)[:60]}”. There are: {', '.join(kind)}.")
    return kind(value)
