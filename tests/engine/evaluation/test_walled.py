"""Plain data passes between a program and its tests with its types intact, and nothing else does."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import Counter, OrderedDict, deque, namedtuple
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.walled.peer import MOST, Peer, StopError
from engine.evaluation.walled.plain import DEPTH, UnfitError, decode, encode
from tests.conftest import REPOSITORY

TEXT = st.text(st.characters(), max_size=12)  # lone surrogates and NUL among them
WHOLE = st.integers() | st.integers(-300, 300).map(lambda number: number * 10**5000 + number)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
KEYS = st.recursive(
    st.none()
    | st.booleans()
    | WHOLE
    | FLOATS
    | TEXT
    | st.binary(max_size=8)
    | st.complex_numbers()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
VALUES = st.recursive(
    KEYS | st.decimals() | st.binary(max_size=8).map(bytearray) | st.sets(KEYS, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict)
        | st.lists(inner, max_size=3).map(lambda items: deque(items, maxlen=5))
        | st.lists(KEYS, max_size=3).map(Counter)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    """Equal, of the very same types, in the same order where they have one; NaN is NaN, and -0.0 is not 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, Decimal):
        return str(a) == str(b)
    if isinstance(a, list | tuple | deque):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same([*a.items()], [*b.items()])
    if isinstance(a, set | frozenset):
        rest = [*b]
        for value in a:
            found = next((place for place, other in enumerate(rest) if same(value, other)), None)
            if found is None:
                return False
            del rest[found]
        return not rest
    return bool(a == b)


@given(VALUES)
def test_plain_data_keeps_its_types(value: Any) -> None:
    assert same(decode(encode(value, []), []), value)


@pytest.fixture(scope="module")
def other() -> Iterator[Peer]:
    """The tests' end of calls to a bare Python that gives its arguments back, and to others of its functions."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from walled.peer import Peer\n"
        "peer = Peer(0, 1, tests=False)\n"
        "def back(*args, **kwargs): return args, kwargs\n"
        "def reverse(items): items.reverse()\n"
        "def apply(f, *args): return f(*args)\n"
        "def rows(items):\n"
        "    items[0].append(items)\n"
        "    return items[1], items\n"
        "class Liar(int):\n"
        "    __eq__ = lambda self, other: True\n"
        "    __hash__ = int.__hash__\n"
        "def lie(value): return Liar(value), type('L', (list,), {'__eq__': lambda *_: True})([Liar(1)])\n"
        "def oneself():\n"
        "    items = []\n"
        "    items.append((items,))\n"
        "    return items\n"
        "def deep(levels):\n"
        "    made = []\n"
        "    for _ in range(levels): made = [made]\n"
        "    return made\n"
        "def long(size): return 'x' * size\n"
        "for function in (back, reverse, apply, rows, lie, oneself, deep, long): peer.offer(function)\n"
        "peer.serve()\n"
    )
    folder = str(REPOSITORY / "engine" / "evaluation")
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        yield Peer(child.stdout.fileno(), child.stdin.fileno(), tests=True)
        child.stdin.close()


BACK, REVERSE, APPLY, ROWS, LIE, ONESELF, DEEP, LONG = range(8)


@given(st.lists(VALUES, max_size=3), st.dictionaries(TEXT, VALUES, max_size=2))
def test_plain_data_comes_back_from_a_call_as_it_went(other: Peer, args: list[Any], kwargs: dict[str, Any]) -> None:
    assert same(other.call(BACK, *args, **kwargs), (tuple(args), kwargs))


def test_what_goes_as_itself_comes_back_as_itself(other: Peer) -> None:
    inner = [1]
    ((outer, again),), _ = other.call(BACK, (inner, inner))
    assert outer is again is inner


def test_what_a_call_changes_is_changed_here(other: Peer) -> None:
    items = [[3], [1], 2.5]
    first = items[0]
    assert other.call(REVERSE, items) is None
    assert items == [2.5, [1], [3]]
    assert items[2] is first
    grid: list[Any] = [[], {}]
    second, whole = other.call(ROWS, grid)
    assert second is grid[1]
    assert whole is grid
    assert grid[0][0] is grid


def test_functions_are_called_where_they_are(other: Peer) -> None:
    assert other.call(APPLY, lambda a, b: [a, b], 1, "x") == [1, "x"]
    assert other.call(APPLY, int, "12") == 12
    seen: list[int] = []
    assert other.call(APPLY, seen.append, 7) is None
    assert seen == [7]
    with pytest.raises(ZeroDivisionError, match="division"):
        other.call(APPLY, lambda: 1 // 0)
    assert list(other.call(APPLY, lambda: iter([1, 2]))) == [1, 2]


def test_a_subclass_arrives_as_what_it_is_a_subclass_of(other: Peer) -> None:
    number, items = other.call(LIE, 5)
    assert (type(number), type(items), type(items[0])) == (int, list, int)
    assert number != 6
    assert items != [2]
    assert same(decode(encode(namedtuple("point", "x y")(1, 2), []), []), (1, 2))


@pytest.mark.parametrize(
    ("number", "argument", "words"),
    [
        (ONESELF, None, "a list that contains itself"),
        (DEEP, 2 * DEPTH, "levels"),
        (LONG, 2 * MOST, "more than"),
        (LONG, 10**12, "MemoryError"),
    ],
)
def test_what_cannot_cross_is_said(other: Peer, number: int, argument: int | None, words: str) -> None:
    fresh = Peer(other._reading, other._writing, tests=True)
    with pytest.raises((StopError, MemoryError)) as raised:
        fresh.call(number, *([] if argument is None else [argument]))
    assert words in f"{type(raised.value).__name__}: {raised.value}"
    if isinstance(raised.value, StopError):
        with pytest.raises(StopError):
            fresh.call(BACK)  # no test goes on from there
        assert fresh.stopped == str(raised.value)
    assert other.call(BACK) == ((), {})


@pytest.mark.parametrize("levels", [1, DEPTH - 10])
def test_data_may_be_deep(other: Peer, levels: int) -> None:
    made = other.call(DEEP, levels)
    for _ in range(levels):
        (made,) = made
    assert made == []


def test_an_object_can_only_be_handed_back(other: Peer) -> None:
    thing = object()
    assert other.call(BACK, thing) == ((thing,), {})
    with pytest.raises(UnfitError, match="type object"):
        encode(thing, [])


@given(st.binary(max_size=60) | VALUES.map(lambda value: encode(value, [])), st.data())
def test_bytes_of_any_kind_are_plain_data_or_refused(message: bytes, data: st.DataObject) -> None:
    changed = bytearray(message)
    for _ in range(data.draw(st.integers(0, 3))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(
                st.sampled_from(b"NTFifsbtzledynrh\0\1\xff")
            )
    try:
        value = decode(bytes(changed), [])
    except ValueError:
        return
    encode(value, [])  # raises for what is no plain data


@pytest.mark.parametrize("end", [0, 1, 4, 5, 9])
def test_a_message_cut_short_is_refused(end: int) -> None:
    reading, writing = os.pipe()
    mine, theirs = os.pipe()
    try:
        peer = Peer(reading, theirs, tests=True)
        body = encode((1, ()), [])
        os.write(writing, (len(body).to_bytes(4, "big") + b"r" + body)[:end])
        os.close(writing)
        with pytest.raises(StopError, match="ended itself"):
            peer.call(0)
    finally:
        for file in (reading, mine, theirs):
            os.close(file)


@pytest.mark.parametrize(
    "answer",
    [
        encode((1, ((7, ()),)), []),
        encode((1, ((0, 5),)), []),
        encode((1, 1, 1), []),
        encode(1, []),
        b"",
        b"h" + (1).to_bytes(4, "big") + encode("type", []),
        encode((1, ()), []) + b"N",
    ],
)
@pytest.mark.parametrize("kind", [b"r", b"e", b"x"])
def test_an_answer_of_another_form_is_refused(answer: bytes, kind: bytes) -> None:
    reading, writing = os.pipe()
    mine, theirs = os.pipe()
    try:
        peer = Peer(reading, theirs, tests=True)
        os.write(writing, len(answer).to_bytes(4, "big") + kind + answer)
        with pytest.raises(StopError):
            peer.call(0)
        assert peer.stopped
    finally:
        for file in (reading, writing, mine, theirs):
            os.close(file)


def test_named_types_are_the_real_ones() -> None:
    values = [Fraction(1, 3), Decimal("0.10"), date(2024, 2, 29), datetime(2024, 2, 29, 1), timedelta(3), range(3)]
    for value in values:
        assert same(decode(encode(value, []), []), value)
    for view in ({1: 2}.keys(), {1: 2}.items()):
        assert decode(encode(view, []), []) == view
    assert [*decode(encode({1: 2}.values(), []), [])] == [2]
