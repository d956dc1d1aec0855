"""Right programs pass whatever plain data their tests hand them, and what cannot be compared fails in words."""

from __future__ import annotations

import pytest

from engine.evaluation import scorers
from engine.evaluation.sandbox import Verdict
from tests.support.evaluation import needs_sandbox, verdict

pytestmark = needs_sandbox

SORTED = "def f(items):\n    items.sort()"
RIGHT_ONES = {
    "sorts in place": (SORTED, "x = [3, 1, 2]\nassert f(x) is None\nassert x == [1, 2, 3]"),
    "changes a row": (
        "def f(g, d):\n    g[0][0] = 9\n    d['n'] = d.pop('o')",
        "row = [1]\ng = [row]\nd = {'o': 1}\nf(g, d=d)\nassert row == [9] and g[0] is row and d == {'n': 1}",
    ),
    "gives back what it got": ("def f(x):\n    return x", "x = [1]\nassert f(x) is x"),
    "gives back a copy": (
        "def f(x):\n    return x[:]",
        "x = [1]\ny = f(x)\ny.append(2)\nassert y is not x and x == [1]",
    ),
    "raises": (
        "def f(x):\n    if x < 0:\n        raise ValueError('negative')\n    return x ** 0.5",
        "try:\n    f(-1)\nexcept ValueError as error:\n    assert str(error) == 'negative'\nelse:\n    assert False",
    ),
    "raises a key error": (
        "def f(d, k):\n    return d[k]",
        "try:\n    f({}, 'k')\nexcept KeyError as error:\n    assert error.args == ('k',)\nelse:\n    assert False",
    ),
    "raises its own": (
        "class Low(ValueError): pass\nclass VeryLow(Low): pass\ndef f(x): raise VeryLow(x)",
        "try:\n    f(1)\nexcept Low as error:\n    assert isinstance(error, ValueError) and error.args == (1,)",
    ),
    "raises one of a module": (
        "import json\ndef f(x): return json.loads(x)",
        "import json\ntry:\n    f('{')\nexcept json.JSONDecodeError:\n    pass\nassert f('[1]') == [1]",
    ),
    "raises one with many arguments": (
        "def f(x): return x.encode('ascii')",
        "try:\n    f('é')\nexcept UnicodeEncodeError as error:\n    assert error.object == 'é' and error.start == 0",
    ),
    "floats": (
        "def f(x): return [x, -0.0, float('inf'), float('nan'), 0.1]",
        "import math\na, b, c, d, e = f(1.5)\nassert a == 1.5 and math.copysign(1, b) < 0 and c == math.inf\n"
        "assert math.isnan(d) and e == 0.1",
    ),
    "long numbers": ("def f(x): return x * 10**6000", "assert f(-3) == -3 * 10**6000"),
    "truth": ("def f(x): return x > 1", "assert f(2) is True and f(1) is False and f(2) == 1"),
    "nothing": ("def f(): pass", "assert f() is None"),
    "a tuple": ("def f(): return 1, [2], (3,)", "assert f() == (1, [2], (3,)) and f() != [1, [2], (3,)]"),
    "a list": ("def f(): return [1]", "assert f() == [1] and f() != (1,) and type(f()) is list"),
    "sets": (
        "def f(x): return {*x}, frozenset(x), {}",
        "assert f('aab') == ({'a', 'b'}, frozenset('ab'), {}) and type(f('a')[0]) is set",
    ),
    "text": ("def f(x): return x + chr(0xd83d)", "assert f('\\0\\n京é\"' + \"'\") == '\\0\\n京é\"\\'' + chr(0xd83d)"),
    "bytes": ("def f(x): return bytes(x), bytearray(x)", "assert f(b'a') == (b'a', bytearray(b'a'))"),
    "an empty set": ("def f(): return set()", "assert f() == set()"),
    "a dict in order": ("def f(): return {2: 'b', 1: 'a', None: ()}", "assert [*f()] == [2, 1, None]"),
    "a counter": (
        "from collections import Counter\ndef f(x): return Counter(x)",
        "assert f('aab') == {'a': 2, 'b': 1} and f('aab').most_common(1) == [('a', 2)]",
    ),
    "a default dict": (
        "from collections import defaultdict\ndef f():\n    d = defaultdict(list)\n    d[1].append(2)\n    return d",
        "assert f() == {1: [2]}",
    ),
    "a named tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
        "assert f() == (1, 2)",
    ),
    "an enumeration of numbers": (
        "from enum import IntEnum\nclass Level(IntEnum):\n    LOW = 1\ndef f(): return Level.LOW",
        "assert f() == 1",
    ),
    "dates and fractions": (
        "import datetime, decimal, fractions\ndef f(d):\n"
        "    return d + datetime.timedelta(1), decimal.Decimal('0.10'), fractions.Fraction(1, 3)",
        "import datetime, decimal, fractions\nassert f(datetime.date(2024, 2, 28)) == (datetime.date(2024, 2, 29), "
        "decimal.Decimal('0.1'), fractions.Fraction(1, 3))",
    ),
    "a generator": (
        "def f(n):\n    while True:\n        yield n\n        n += 1",
        "x = f(3)\nassert next(x) == 3 and next(x) == 4 and x != [5]",
    ),
    "an iterator": ("def f(x): return map(str, x)", "assert list(f([1, 2])) == ['1', '2'] and f([1]) != ['1']"),
    "a range": ("def f(): return range(3)", "assert f() == range(3) and f() != [0, 1, 2] and sorted(f()) == [0, 1, 2]"),
    "views": ("def f(d): return d.keys(), d.values()", "k, v = f({1: 2})\nassert k == {1} and list(v) == [2]"),
    "takes an iterator": ("def f(x): return [y * 2 for y in x]", "assert f(x for x in range(2)) == [0, 2]"),
    "takes functions": ("def f(g, x): return g(g(x))", "assert f(lambda x: x + [1], []) == [1, 1] and f(abs, -1) == 1"),
    "takes types": ("def f(x, t): return [y for y in x if isinstance(y, t)]", "assert f([1, 'a'], str) == ['a']"),
    "gives functions": (
        "def f(n):\n    def add(x):\n        nonlocal n\n        n += x\n        return n\n    return add",
        "g = f(1)\nassert g(2) == 3 and g(2) == 5 and callable(g) and f(1)(1) == 2",
    ),
    "wraps functions": (
        "def f(g):\n    seen = {}\n    def wrapped(x):\n        if x not in seen:\n            seen[x] = g(x)\n"
        "        return seen[x]\n    return wrapped",
        "calls = []\ndef slow(x):\n    calls.append(x)\n    return x * x\ng = f(slow)\n"
        "assert g(3) == g(3) == 9 and calls == [3]",
    ),
    "keeps objects": (
        "class Stack(list): pass\nclass Box:\n    def __init__(self): self.items = []\n"
        "def f(): return Box()\ndef put(box, x): box.items.append(x)\ndef items(box): return box.items",
        "box = f()\nput(box, 1)\nput(box, 2)\nassert items(box) == [1, 2] and box is not None",
    ),
    "remembers": ("seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)", "assert [f(1), f(1)] == [1, 2]"),
    "recursion": ("def f(n): return n and n + f(n - 1)", "assert f(900) == 405450"),
    "helpers": ("import math\ndef g(x): return 2 * x\ndef f(x): return g(x)", "assert f(1) == 2 and g(2) == 4"),
    "a module's names": ("import math\ndef f(r): return math.pi * r", "assert math.isclose(f(1), math.pi)"),
    "a constant": ("LIMIT = 3\nNAMES = ['a']\ndef f(): return LIMIT", "assert f() == LIMIT and NAMES == ['a']"),
    "a main block": (f"{SORTED}\nif __name__ == '__main__':\n    raise SystemExit", "f([])"),
    "prints": ("def f(x):\n    print('passed' * 1000)\n    return x", "assert f(1) == 1"),
    "named arguments": (
        "def f(*args, number=0, **more): return number, more",
        "assert f(1, number=2, self=3) == (2, {'self': 3})",
    ),
    "files between it and its tests": (
        "def f(path):\n    with open(path) as file:\n        return file.read()",
        "with open('x.txt', 'w') as file:\n    file.write('é')\nassert f('x.txt') == 'é'",
    ),
    "a data class": (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f(x): return P(x).x",
        "assert f(3) == 3",
    ),
    "many calls": ("def f(x): return x % 7 == 0", "assert [x for x in range(5000) if f(x)] == [*range(0, 5000, 7)]"),
    "long lists": ("def f(x): return x[::-1]", "x = list(range(50_000))\nassert f(x) == x[::-1]"),
    "a name of a built-in": ("def sum(x): return 3\ndef f(x): return sum(x)", "assert sum([1]) == 1 and f([1]) == 3"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "tests"), RIGHT_ONES.values(), ids=RIGHT_ONES)
def test_a_right_program_passes(program: str, tests: str) -> None:
    assert verdict(program, tests) == Verdict(True)


@pytest.mark.parametrize(
    ("program", "tests", "words"),
    [
        ("class P: pass\ndef f(): return P()", "assert f() == 1", "a value of type P, which cannot be compared"),
        ("class P:\n    x = 1\ndef f(): pass", "assert P().x == 1", "a value of type P"),
        ("def f(): return [lambda: 1, object()]", "assert f()[1]", "a value of type object"),
        ("def f(): return 'x' * 2**21", "f()", "more than 1,048,576 bytes"),
        ("def f():\n    x = {}\n    x['x'] = [x]\n    return x", "f()", "a dict that contains itself"),
        ("def f(): return input()", "f()", "EOFError"),
        ("def f(x): return x", "x = []\nx.append(x)\nf(x)", "it was given a list that contains itself"),
        ("def f(x): return [x]", "assert f(1) == (1,)", "AssertionError"),
        ("def f(x): return iter([x])", "assert f(1) == [1]", "AssertionError"),
        ("def f(x): return 1.0", "assert type(f(1)) is int", "AssertionError"),
        ("def f(x): return x", "assert f([1]) == [2], 'a reason\\nof two lines'", "a reason of two lines"),
    ],
)
def test_what_cannot_be_compared_fails_in_words(program: str, tests: str, words: str) -> None:
    ran = verdict(program, tests)
    assert not ran.passed
    assert words in ran.reason


def test_the_tasks_own_helpers_are_not_the_programs() -> None:
    start = 'def double(x):\n    return 2 * x\n\n\ndef f(x):\n    """Half."""\n'
    expected = {"tests": "assert double(f(6)) == 6", "entry": "f", "start": start}
    assert scorers.code(f"{start}    return x / 2", expected)
    assert scorers.code("    return x / 2", expected)
    assert not scorers.code("def double(x):\n    return 6\ndef f(x):\n    return 0", expected)
    assert not scorers.code(f"{start}    return 0\ndef double(x):\n    return 6", expected)
