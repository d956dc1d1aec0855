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
_MARKS = r"\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""Unicode's combining marks, as a PostgreSQL regular expression has them."""


def fold(text: str) -> str:
    """Letters in one case and without their marks; "É" and "e" are the same."""
    text = valid_text(text)
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


class folded(FunctionElement[str]):  # noqa: N801 (it stands where SQL functions stand)
    """A column as :func:`fold` would have it. PostgreSQL knows no case folding: there it is lower case without marks,
    and "ss" for "ß"."""

    type = Text()
    inherit_cache = True


@compiles(folded, "postgresql")
def _lower(element: folded, compiler: SQLCompiler, **options: Any) -> str:
    apart = f"normalize(lower({compiler.process(element.clauses, **options)}), NFKD)"
    return f"replace(regexp_replace({apart}, '[{_MARKS}]', '', 'g'), 'ß', 'ss')"


@compiles(folded, "sqlite")
def _fold(element: folded, compiler: SQLCompiler, **options: Any) -> str:
    return f"{SQLITE_FUNCTION}({compiler.process(element.clauses, **options)})"
