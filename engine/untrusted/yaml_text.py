"""YAML that somebody else wrote: plain values only, of any size, depth and number of references."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from engine.untrusted.json_text import MAX_DEPTH
from engine.untrusted.text import valid_text

MOST_VALUES = 1_000_000
"""Values that are read, those that a reference stands for counted each time: a few lines of references to references
would be more than any memory holds."""
_MERGE, _INT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:int"
_LONGEST_NUMBER = 400
"""Characters of a whole number: in base 60 the time to read one grows with their square."""


def parse_yaml(text: str) -> Any:
    """Parse YAML with the tags of JSON alone; dates become texts, keys too. Strings come out as valid text. Merge keys
    (``<<``) are refused: they copy what they refer to before it could be counted.

    Raises:
        ValueError: it is no YAML, asks for anything but plain values, is nested deeper than
            :data:`~engine.untrusted.json_text.MAX_DEPTH`, or holds too much. The message is a phrase that a sentence
            can end with.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(yaml.parse(text, Loader=loader))
        return _Plain().of(yaml.load(text, Loader=loader))  # safe: one of the two loaders of plain values
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1:,}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or 'it cannot be read'}{where}") from error
    except (yaml.YAMLError, RecursionError, TypeError) as error:  # TypeError: a list as a key
        raise ValueError("it cannot be read") from error


def _check_events(events: Any) -> None:
    """See how deep it goes, and what it would take, before anything is built of it: building recurses, in C."""
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if name == "ScalarEvent":
            _check_scalar(event)


def _check_scalar(event: Any) -> None:
    plain, value = event.tag is None and event.implicit[0], event.value
    where = f"in line {event.start_mark.line + 1:,}"
    if event.tag == _MERGE or (plain and value == "<<"):
        raise ValueError(f"a merge key (<<) {where} is not followed here")
    if len(value) > _LONGEST_NUMBER and (plain or event.tag == _INT) and not value.strip("+-_:0123456789"):
        raise ValueError(f"a number {where} is too long")


class _Plain:
    """Counts the values that it makes plain."""

    def __init__(self) -> None:
        self._values = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        self._values += 1
        if self._values > MOST_VALUES:
            raise ValueError(f"it holds more than {MOST_VALUES:,} values")
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        match value:
            case Mapping():
                return {valid_text(str(key)): self.of(each, depth + 1) for key, each in value.items()}
            case list() | tuple() | set():
                return [self.of(each, depth + 1) for each in value]
            case date():
                return value.isoformat()
            case bytes():
                raise ValueError("it holds bytes, and texts are read")
            case str():
                return valid_text(value)
            case _:
                return value
