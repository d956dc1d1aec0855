"""The process that the tests of an answer run in. The answer's program is in another one and is called from here."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator
from types import CodeType
from typing import Any, NoReturn

from .answering import sound_beginning
from .peer import Peer
from .plain import decode


def main(reading: int, writing: int, job: int, report: int) -> NoReturn:
    """Read the job, have the program loaded, run the tests, write ``passed`` or ``failed WHY``."""
    data = b"".join(iter(lambda: os.read(job, 2**20), b""))
    os.close(job)
    peer = Peer(reading, writing, tests=True)
    try:
        _judge(peer, *decode(data, []))
    except BaseException as error:  # noqa: BLE001 an exit is a failure too, and nothing may pass by here
        peer.stopped = peer.stopped or _told(error)
    if peer.stopped is None:
        os.write(report, b"passed")
    else:
        os.write(report, b"failed " + " ".join(peer.stopped.split())[:500].encode("utf-8", "replace"))
    os._exit(0)


def _judge(peer: Peer, program: str | tuple[str, ...], tests: str, entry: str, helpers: str) -> None:
    """Run the tests with stand-ins for what the program defines, and Python's own built-ins.

    What the task itself defines before the function that was asked for is run here: a program's own notion of it does
    not count.
    """
    code = compile(tests, "tests", "exec", dont_inherit=True)
    others = sorted({name for name in _names(code) if not name.startswith("__")} - {*dir(builtins), entry})
    found = dict(peer.call(0, program, entry, tuple(others)))
    # the program may have given more than it was asked for
    names: dict[str, Any] = {"__name__": "tests"} | {name: found[name] for name in others if name in found}
    exec(compile(sound_beginning(helpers), "start", "exec", dont_inherit=True), names)
    names[entry] = found[entry]
    exec(code, names)


def _names(code: CodeType) -> Iterator[str]:
    """The names that a piece of code uses, of whatever scope."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _told(error: BaseException) -> str:
    """An exception in a line."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 it may be of a class of the tests' own
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
