"""Text as a search compares it: without case and without accents."""

from __future__ import annotations

import unicodedata
from typing import Any

from sqlalchemy import Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from engine.untrusted import valid_text

SQLITE_FUNCTION = "gearbox_fold"
"""The name under which :func:`fold` is known on SQLite connections."""


def fold(text: str) -> str:
    """Letters in one case and without their marks; "É" and "e" are the same."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", valid_text(text).casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


class folded(FunctionElement[str]):  # noqa: N801 (it stands where SQL functions stand)
    """A column as :func:`fold` would have it; on other databases than SQLite only without case."""

    type = Text()
    inherit_cache = True


@compiles(folded)
def _lower(element: folded, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(folded, "sqlite")
def _fold(element: folded, compiler: SQLCompiler, **options: Any) -> str:
    return f"{SQLITE_FUNCTION}({compiler.process(element.clauses, **options)})"
