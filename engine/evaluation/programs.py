"""The Python program in an answer that was to write a function."""

from __future__ import annotations

import re
import textwrap

_FENCED = re.compile(r"```[\w+-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
INDENT = "    "
_LONGEST = 50_000
"""Characters of an answer's code that are looked at."""
_EFFORT = 1_000_000
"""Characters that are parsed in search of the longest sound beginning."""


def program(text: str, entry: str, start: str = "") -> str:
    """The code of an answer: its first fenced block, or all of it.

    Args:
        text: the answer.
        entry: name of the function that it was to write.
        start: what it was to continue, as far as the end of the function's docstring. An answer may repeat
            it or leave it out, and may indent the body or not.
    """
    fenced = _FENCED.search(text)
    code = (fenced[1] if fenced else text).strip("\n")[:_LONGEST].rstrip()
    definition = re.compile(rf"^[ \t]*(?:async[ \t]+)?def[ \t]+{re.escape(entry)}\b", re.MULTILINE)
    before = definition.split(start, maxsplit=1)[0].rstrip()  # imports and helpers
    if definition.search(code) or not start:
        return _sound_beginning(f"{before}\n\n{textwrap.dedent(code)}".lstrip("\n"))
    first, _, others = code.partition("\n")
    bodies = (
        code,
        f"{INDENT}{first.strip()}\n{others}",  # models often drop the first line's indentation alone
        textwrap.indent(textwrap.dedent(code), INDENT),
    )
    # of equally long ones the earlier
    return max((_sound_beginning(f"{start.rstrip()}\n{body}") for body in bodies), key=lambda code: code.count("\n"))


def _sound_beginning(code: str) -> str:
    """The longest beginning, by lines, that is Python: an answer may end in the middle of a line or go on in prose.

    One that takes more than :data:`_EFFORT` to find is given up.
    """
    lines = code.split("\n")
    end, effort = len(lines), 0
    while end and effort <= _EFFORT:
        beginning = "\n".join(lines[:end])
        effort += len(beginning)
        try:
            compile(beginning, "answer", "exec", dont_inherit=True)
        except SyntaxError as error:
            # what is wrong in a line is wrong in every beginning that has the line
            end = min(end - 1, (error.lineno or end) - 1)
        except (ValueError, RecursionError, MemoryError):
            end -= 1
        else:
            return beginning
    return ""
