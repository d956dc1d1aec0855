"""The process that an answer's program lives in: it runs the program and answers calls of what that defines."""

from __future__ import annotations

from typing import Any, NoReturn

from .peer import Peer, is_common_module
from .plain import UnfitError, encode


def main(reading: int, writing: int) -> NoReturn:
    """Wait for the program on one pipe, give what it defines on the other."""
    peer = Peer(reading, writing, tests=False)
    peer.offer(load)
    peer.serve()


def load(forms: str | tuple[str, ...], entry: str, others: tuple[str, ...]) -> dict[str, Any]:
    """Run a program.

    Args:
        forms: its code; or several forms of it, of which the one is run whose beginning is sound for most lines.
        entry: name that it must define.
        others: names that are of use, where it defines them.

    Returns:
        What it defines of these.
    """
    if isinstance(forms, str):
        code = forms
    else:  # of equally long ones the earlier
        code = max(map(sound_beginning, forms), key=lambda beginning: beginning.count("\n"))
    names: dict[str, Any] = {"__name__": "answer"}
    exec(compile(code, "answer", "exec", dont_inherit=True), names)
    if entry not in names:
        raise NameError(f"it defines no {entry}")
    return {name: names[name] for name in (entry, *others) if name == entry or (name in names and _fits(names[name]))}


def sound_beginning(code: str) -> str:
    """The longest beginning, by lines, that is Python: an answer may end in the middle of a line or go on in prose."""
    lines = code.split("\n")
    end = len(lines)
    while end > 0:
        beginning = "\n".join(lines[:end])
        try:
            compile(beginning, "answer", "exec", dont_inherit=True)
        except SyntaxError as error:
            # what breaks in a line breaks there however much follows; in a formatted string, lines are counted anew
            broken = end if "f-string" in str(error) else error.lineno or end
            end = min(end - 1, max(broken, 1))
        except (ValueError, RecursionError, MemoryError):
            end -= 1
        else:
            return beginning
    return ""


def _fits(value: Any) -> bool:
    """Whether the tests can be given it."""
    if callable(value) or is_common_module(value):
        return True
    try:
        encode(value, [], lambda _: None, 2**16)
    except UnfitError:
        return False
    return True
