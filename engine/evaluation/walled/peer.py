"""Calls between two processes that trust each other with nothing but plain data.

Functions, iterators and other objects stay where they are: the other side gets a stand-in. A call of one goes back as
a message, and so does what became of it: the value, or the exception, and what the call changed in its arguments.
"""

from __future__ import annotations

import builtins
import operator
import os
import struct
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn, TypeGuard

from .plain import UnfitError, decode, elements, encode, refill
from .stand_ins import Exceptions, Opaque, is_built_in, lineage

MOST = 2**20
"""Bytes of a message from a program."""
MODULES = (
    "bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools",
    "json", "math", "operator", "random", "re", "statistics", "string", "time", "typing",
)  # fmt: skip
"""What a program may be seen to have imported: tests use the same module, in their own process."""

_CALL, _RETURN, _RAISE, _REFUSE = b"c", b"r", b"e", b"u"
_LENGTH = struct.Struct(">I")


class StopError(BaseException):
    """Ends the tests: the program has not kept to plain data. No test can catch it and go on."""


class Peer:
    """One end of the two pipes.

    Args:
        reading: the file descriptor that messages come from.
        writing: the one that they go to.
        tests: whether this is the tests' end, which ends where the other end keeps to no rules.
    """

    def __init__(self, reading: int, writing: int, *, tests: bool) -> None:
        self.stopped: str | None = None
        """Why the tests are at their end, whatever they make of it themselves."""
        self._reading, self._writing, self._tests = reading, writing, tests
        self._buffer = bytearray()
        self._mine: list[Any] = []
        self._places: dict[int, int] = {}
        self._theirs: dict[int, Any] = {}
        self._stands_for: dict[int, int] = {}
        self._exceptions = Exceptions()

    def offer(self, function: Callable[..., Any]) -> None:
        """Let the other side call this function by its number: 0 for the first."""
        self._place(function)

    def call(self, number: int, /, *args: Any, **kwargs: Any) -> Any:
        """Call what the other side has under this number, and answer its own calls meanwhile."""
        if self.stopped:
            raise StopError(self.stopped)
        shared: list[Any] = []
        try:
            self._send(_CALL, encode((number, args, kwargs), shared, self._hand, None if self._tests else MOST))
        except UnfitError as error:
            self._refuse(f"it was given {error}")
        while True:
            kind, body = self._receive()
            if kind == _CALL:
                self._answer(body)
                continue
            try:
                outcome, changes = decode(body, shared, self._take)
                for place, row in changes:
                    refill(shared[place], row)
                raised = self._exceptions.exception(*outcome) if kind == _RAISE else None
            except (ValueError, TypeError, LookupError):
                self._refuse("it answered with something that is no plain data")
            if kind == _RETURN:
                return outcome
            if raised is not None:
                raise raised
            self._refuse(f"it gave {outcome}")

    def serve(self) -> NoReturn:
        """Answer calls until the other side is gone."""
        while True:
            kind, body = self._receive()
            if kind == _CALL:
                self._answer(body)

    # --- answering --------------------------------------------------------------------------------------

    def _answer(self, body: bytes) -> None:
        shared: list[Any] = []
        try:
            number, args, kwargs = decode(body, shared, self._take)
            target = self._known(number)
        except (ValueError, TypeError):
            self._refuse("it answered with something that is no plain data")
        before = [elements(container) for container in shared]
        outcome: Any
        try:
            kind, outcome = _RETURN, target.__next__() if _is_iterator(target) else target(*args, **kwargs)
        except StopError:
            raise
        except BaseException as error:  # noqa: BLE001 an exit is an outcome too
            kind, outcome = _RAISE, (*lineage(type(error)), error.args)
        try:
            reply = self._encoded(outcome, before, shared)
        except UnfitError as error:
            kind, reply = _REFUSE, encode((str(error), ()), shared)
        self._send(kind, reply)

    def _encoded(self, outcome: Any, before: list[tuple[Any, ...] | None], shared: list[Any]) -> bytes:
        changes = []
        for place, old in enumerate(before):
            new = elements(shared[place])
            if old is not None and new is not None and not (len(old) == len(new) and all(map(operator.is_, old, new))):
                changes.append((place, new))
        return encode((outcome, changes), shared, self._hand, None if self._tests else MOST)

    # --- stand-ins --------------------------------------------------------------------------------------

    def _hand(self, value: Any) -> tuple[Any, ...]:
        """What is sent for a value that is no plain data."""
        if id(value) in self._stands_for:
            return ("yours", self._stands_for[id(value)])
        if isinstance(value, type):
            if is_built_in(value):
                return ("type", value.__name__)
            if issubclass(value, BaseException):
                return ("exception", *lineage(value))
        if is_common_module(value):
            return ("module", value.__name__)
        kind = "iterator" if _is_iterator(value) else "function" if callable(value) else "object"
        name = str(getattr(value, "__name__", "")) if kind == "function" else type(value).__name__
        return (kind, self._place(value), name[:100])

    def _take(self, row: Any) -> Any:
        """What stands here for what was sent."""
        match row:
            case ("yours", number):
                return self._known(number)
            case ("type", str(name)) if isinstance(getattr(builtins, name, None), type):
                return getattr(builtins, name)
            case ("exception", own, base):
                return self._exceptions.kind(own, base)
            case ("module", str(name)) if name in MODULES:
                return import_module(name)
            case ("iterator" | "function" | "object" as kind, int(number), str(name)):
                if number not in self._theirs:
                    self._theirs[number] = self._stand_in(kind, number, name)
                    self._stands_for[id(self._theirs[number])] = number
                return self._theirs[number]
            case _:
                raise ValueError("it stands for nothing")

    def _stand_in(self, kind: str, number: int, name: str) -> Any:
        if kind == "object":
            return Opaque(name, self._refuse)
        if kind == "iterator":
            return self._drawn(number)

        def function(*args: Any, **kwargs: Any) -> Any:
            try:
                return self.call(number, *args, **kwargs)
            except StopIteration as error:  # it would end the caller's loop, and what is asserted in it
                raise RuntimeError(f"{name} raised StopIteration") from error

        function.__name__ = function.__qualname__ = name
        return function

    def _drawn(self, number: int) -> Iterator[Any]:
        while True:
            try:
                value = self.call(number)
            except StopIteration:
                return
            yield value

    def _place(self, value: Any) -> int:
        if id(value) not in self._places:
            self._places[id(value)] = len(self._mine)
            self._mine.append(value)
        return self._places[id(value)]

    def _known(self, number: Any) -> Any:
        if type(number) is not int or not 0 <= number < len(self._mine):
            raise ValueError("no such number")
        return self._mine[number]

    # --- messages ---------------------------------------------------------------------------------------

    def _send(self, kind: bytes, body: bytes) -> None:
        data = memoryview(_LENGTH.pack(len(body)) + kind + body)
        try:
            while data:
                data = data[os.write(self._writing, data) :]
        except BrokenPipeError:
            self._refuse("it ended itself")

    def _receive(self) -> tuple[bytes, bytes]:
        length = _LENGTH.unpack(self._read(_LENGTH.size))[0]
        if self._tests and length > MOST + 64:
            self._refuse("it answered with something that is no plain data")
        return self._read(1), self._read(length)

    def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            part = os.read(self._reading, 2**16)
            if not part:
                if not self._tests:
                    os._exit(0)
                self._refuse("it ended itself")
            self._buffer += part
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _refuse(self, why: str) -> NoReturn:
        if not self._tests:
            raise TypeError(why)
        self.stopped = self.stopped or why
        raise StopError(self.stopped)


def is_common_module(value: object) -> TypeGuard[ModuleType]:
    """Whether it is a module that both sides import for themselves."""
    return isinstance(value, ModuleType) and value.__name__ in MODULES


def _is_iterator(value: Any) -> bool:
    return hasattr(type(value), "__next__")
