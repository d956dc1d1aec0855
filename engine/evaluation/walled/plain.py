"""Plain data as bytes: how values pass between a program and its tests without a line of the program's code.

What arrives has exactly the types named here, whatever was sent: a subclass is sent as what it is a subclass of.
Containers keep their identity within one message and its reply.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

DEPTH = 100
"""Levels of containers in containers."""

Hand = Callable[[Any], tuple[Any, ...] | None]
"""Turns a value that is no plain data into plain data that stands for it, or gives ``None``."""
Take = Callable[[Any], Any]
"""The way back; raises ValueError for what stands for nothing."""

_COUNT = struct.Struct(">I")
_FLOAT = struct.Struct(">d")


class UnfitError(Exception):
    """A value that cannot be sent; the message says what it is: "a list that contains itself"."""


class _Named(NamedTuple):
    """A type of the standard library that is sent by its name and the arguments that make it again."""

    module: str
    arguments: Callable[[Any], tuple[Any, ...] | None]
    """Of a value; ``None`` where it cannot be sent so."""
    make: Callable[..., Any] | None = None
    """Makes it of the arguments, where the type itself does not."""


_NAMED: Mapping[str, _Named] = {
    "complex": _Named("builtins", lambda value: (value.real, value.imag)),
    "range": _Named("builtins", lambda value: (value.start, value.stop, value.step)),
    "dict_keys": _Named("builtins", lambda value: (tuple(value),), lambda keys: dict.fromkeys(keys).keys()),
    "dict_values": _Named("builtins", lambda value: (tuple(value),), lambda each: dict(enumerate(each)).values()),
    "dict_items": _Named("builtins", lambda value: (tuple(value),), lambda items: dict(items).items()),
    "Decimal": _Named("decimal", lambda value: (str(value),)),
    "Fraction": _Named("fractions", lambda value: (value.numerator, value.denominator)),
    "date": _Named("datetime", lambda value: (value.year, value.month, value.day)),
    "datetime": _Named("datetime", lambda value: None if value.tzinfo else (*value.timetuple()[:6], value.microsecond)),
    "timedelta": _Named("datetime", lambda value: (value.days, value.seconds, value.microseconds)),
    "deque": _Named("collections", lambda value: (tuple(value), value.maxlen)),
    "Counter": _Named("collections", lambda value: (dict(value),)),
    "OrderedDict": _Named("collections", lambda value: (tuple(value.items()),)),
}


def encode(value: Any, shared: list[Any], hand: Hand | None = None, most: int | None = None) -> bytes:
    """A value as bytes.

    Args:
        value: plain data, or what ``hand`` can stand in for.
        shared: containers that the receiver knows by their place in this list; those of ``value`` are added to it.
        hand: for all that is no plain data.
        most: bytes.

    Raises:
        UnfitError: part of it cannot be sent, it contains itself, is too deep or too long.
    """
    writer = _Writer(shared, hand, most)
    writer.put(value, 0)
    return bytes(writer.written)


def decode(data: bytes, shared: list[Any], take: Take | None = None) -> Any:
    """The value that was sent; its containers are added to ``shared``.

    Raises:
        ValueError: these bytes were not written by :func:`encode`.
    """
    reader = _Reader(data, shared, take)
    try:
        value = reader.get(0)
    except (TypeError, ArithmeticError, LookupError, struct.error) as error:
        raise ValueError(f"no plain data: {error}") from error
    if reader.at != len(data):
        raise ValueError("bytes are left over")
    return value


def elements(container: Any) -> tuple[Any, ...] | None:
    """What is in a container that was shared, in one row; ``None`` for one that cannot change."""
    if isinstance(container, dict):
        return tuple(each for item in container.items() for each in item)
    if isinstance(container, list | set | bytearray) or type(container).__name__ == "deque":
        return tuple(container)
    return None


def refill(container: Any, row: tuple[Any, ...]) -> None:
    """Put what :func:`elements` told of another container into this one.

    Raises:
        ValueError: the row is not of a container of this type.
    """
    if elements(container) is None:
        raise ValueError("it cannot change")
    container.clear()
    if isinstance(container, dict):
        for key, value in zip(row[::2], row[1::2], strict=True):
            container[key] = value
    elif isinstance(container, set):
        container.update(row)
    else:
        container.extend(row)


class _Writer:
    def __init__(self, shared: list[Any], hand: Hand | None, most: int | None) -> None:
        self.written = bytearray()
        self._shared = shared
        self._places = {id(container): place for place, container in enumerate(shared)}
        self._hand = hand
        self._most = most
        self._open: set[int] = set()

    def put(self, value: Any, depth: int) -> None:
        if self._most is not None and len(self.written) > self._most:
            raise UnfitError(f"more than {self._most:,} bytes of data")
        if depth > DEPTH:
            raise UnfitError(f"data of more than {DEPTH} levels")
        if value is None or value is True or value is False:
            self.written += b"N" if value is None else b"T" if value else b"F"
            return
        kind = type(value)
        named = _NAMED.get(kind.__name__)
        if named and kind.__module__ == named.module and (arguments := named.arguments(value)) is not None:
            self._container(b"n", value, (kind.__name__, *arguments), depth)
        elif issubclass(kind, int):
            self._bytes(b"i", int.to_bytes(value, int.bit_length(value) // 8 + 1, "little", signed=True))
        elif issubclass(kind, float):
            self.written += b"f" + _FLOAT.pack(value)
        elif issubclass(kind, str):
            self._bytes(b"s", str.encode(value, "utf-8", "surrogatepass"))
        elif issubclass(kind, bytes):
            self._bytes(b"b", bytes(value))
        elif issubclass(kind, tuple):
            self._container(b"t", value, tuple(tuple.__iter__(value)), depth)
        elif issubclass(kind, frozenset):
            self._container(b"z", value, tuple(frozenset.__iter__(value)), depth)
        elif issubclass(kind, list):
            self._container(b"l", value, tuple(list.__iter__(value)), depth)
        elif issubclass(kind, set):
            self._container(b"e", value, tuple(set.__iter__(value)), depth)
        elif issubclass(kind, dict):
            row = tuple(each for item in dict.items(value) for each in item)
            self._container(b"d", value, row, depth)
        elif issubclass(kind, bytearray):
            self._container(b"y", value, (bytes(value),), depth)
        elif self._hand and (stands_for_it := self._hand(value)) is not None:
            self._container(b"h", value, stands_for_it, depth)
        else:
            raise UnfitError(f"a value of type {kind.__name__}")

    def _bytes(self, tag: bytes, data: bytes) -> None:
        if self._most is not None and len(self.written) + len(data) > self._most:
            raise UnfitError(f"more than {self._most:,} bytes of data")
        self.written += tag + _COUNT.pack(len(data)) + data

    def _container(self, tag: bytes, value: Any, row: tuple[Any, ...], depth: int) -> None:
        own = id(value)
        if own in self._open:
            raise UnfitError(f"a {type(value).__name__} that contains itself")
        if own in self._places:
            self.written += b"r" + _COUNT.pack(self._places[own])
            return
        self._places[own] = len(self._shared)
        self._shared.append(value)
        self._open.add(own)
        self.written += tag + _COUNT.pack(len(row))
        for each in row:
            self.put(each, depth + 1)
        self._open.discard(own)


class _Reader:
    def __init__(self, data: bytes, shared: list[Any], take: Take | None) -> None:
        self.at = 0
        self._data = data
        self._shared = shared
        self._take = take

    def get(self, depth: int) -> Any:
        if depth > DEPTH:
            raise ValueError("too deep")
        tag = self._next(1)
        if tag in (b"N", b"T", b"F"):
            return None if tag == b"N" else tag == b"T"
        if tag == b"f":
            return _FLOAT.unpack(self._next(8))[0]
        count = _COUNT.unpack(self._next(4))[0]
        if tag == b"i":
            return int.from_bytes(self._next(count), "little", signed=True)
        if tag == b"s":
            return self._next(count).decode("utf-8", "surrogatepass")
        if tag == b"b":
            return self._next(count)
        if tag == b"r":
            return self._known(count)
        return self._container(tag, count, depth)

    def _container(self, tag: bytes, count: int, depth: int) -> Any:
        place = len(self._shared)
        self._shared.append(self)  # nobody's until it is complete
        row = tuple([self.get(depth + 1) for _ in range(count)])
        if tag == b"t":
            made: Any = row
        elif tag == b"z":
            made = frozenset(row)
        elif tag == b"l":
            made = list(row)
        elif tag == b"e":
            made = set(row)
        elif tag == b"d":
            made = dict(zip(row[::2], row[1::2], strict=True))
        elif tag == b"y" and count == 1 and type(row[0]) is bytes:
            made = bytearray(row[0])
        elif tag == b"n":
            made = _made(*row)
        elif tag == b"h" and self._take:
            made = self._take(row)
        else:
            raise ValueError("an unknown tag")
        self._shared[place] = made
        return made

    def _known(self, place: int) -> Any:
        if self._shared[place] is self:
            raise ValueError("a container that contains itself")
        return self._shared[place]

    def _next(self, count: int) -> bytes:
        if count > len(self._data) - self.at:
            raise ValueError("it ends too early")
        self.at += count
        return self._data[self.at - count : self.at]


def _made(name: object, *arguments: Any) -> Any:
    if not isinstance(name, str):
        raise ValueError("a type without a name")
    named = _NAMED[name]
    return (named.make or getattr(import_module(named.module), name))(*arguments)
