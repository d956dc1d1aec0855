"""A file of prompts, whatever kind it is, as a table."""

from __future__ import annotations

from pathlib import PurePath

from app.prompts.promptfoo.tests import is_promptfoo, is_sheet_of_tests, tests_of, tests_of_sheet
from app.prompts.tables import SUFFIXES as _TABLES
from app.prompts.tables import Table, read_table
from engine.errors import InvalidRequestError
from engine.untrusted import decode_text, parse_json
from engine.untrusted.yaml_text import parse_yaml

_YAML = ("yaml", "yml")
_MOST_YAML_BYTES = 8 * 2**20
SUFFIXES = (*_TABLES, *_YAML)


def read_prompt_file(name: str, data: bytes) -> Table:
    """A file as a table; rows that cannot be read are left out, each with its reason.

    Args:
        name: of the file; its ending says what it is. YAML is promptfoo's.
        data: its bytes.

    Raises:
        InvalidRequestError: it is too large, no text, not what its ending says, or without a row.
    """
    ending = PurePath(name.casefold()).suffix.lstrip(".")
    if ending in _YAML:
        if len(data) > _MOST_YAML_BYTES:
            raise InvalidRequestError(f"{name} has more than {_MOST_YAML_BYTES >> 20} MB.")
        try:
            return tests_of(name, parse_yaml(decode_text(data, name)))
        except InvalidRequestError:
            raise
        except ValueError as error:
            raise InvalidRequestError(f"{name} is no YAML that can be read: {error}.") from error
    if ending == "json" and (tree := _promptfoo_json(name, data)) is not None:
        return tests_of(name, tree)
    table = read_table(name, data)
    return tests_of_sheet(table) if is_sheet_of_tests(table) else table


def _promptfoo_json(name: str, data: bytes) -> object | None:
    try:
        tree = parse_json(decode_text(data, name)) if b'"vars"' in data else None
    except ValueError:
        return None
    return tree if is_promptfoo(tree) else None
