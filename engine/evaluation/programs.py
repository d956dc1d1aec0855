"""The Python program in an answer that was to write a function."""

from __future__ import annotations

import re
import textwrap

_FENCED = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
INDENT = "    "


def forms(text: str, entry: str, start: str = "") -> tuple[str, ...]:
    """The programs that an answer may mean, by its first fenced block, or by all of it.

    An answer may end in the middle of a line or go on in prose: of each form only its beginning need be Python, and of
    several the right one is the one whose sound beginning is longest.

    Args:
        text: the answer.
        entry: name of the function that it was to write.
        start: what it was to continue, as far as the end of the function's docstring. An answer may repeat
            it or leave it out, and may indent the body or not.
    """
    fenced = _FENCED.search(text)
    code = (fenced[1] if fenced else text).strip("\n").rstrip()
    if _definition(entry).search(code) or not start:
        return (f"{helpers(entry, start)}\n\n{textwrap.dedent(code)}".lstrip("\n"),)
    first, _, others = code.partition("\n")
    bodies = (
        code,
        f"{INDENT}{first.strip()}\n{others}",  # models often drop the first line's indentation alone
        textwrap.indent(textwrap.dedent(code), INDENT),
    )
    return tuple(f"{start.rstrip()}\n{body}" for body in bodies)


def helpers(entry: str, start: str) -> str:
    """The imports and definitions in a start that come before the function to continue."""
    return _definition(entry).split(start, maxsplit=1)[0].rstrip()


def _definition(entry: str) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(entry)}\b", re.MULTILINE)
