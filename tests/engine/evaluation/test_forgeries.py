"""No program passes by what it says of itself, and none ends more than its own check."""

from __future__ import annotations

import pytest

from engine.evaluation import scorers
from engine.evaluation.sandbox import LONGEST, Verdict, run_tests
from tests.support.evaluation import RIGHT, TESTS, needs_sandbox, verdict

pytestmark = needs_sandbox

EVERY_FILE = "import os\nfor n in range(64):\n    try:\n        os.write(n, {!r})\n    except OSError:\n        pass\n"
HARNESS = """
import gc, sys
found = [thing for thing in gc.get_objects() if type(thing).__name__ == "Peer"]
"""
EQUAL = (
    "    __eq__ = __le__ = __ge__ = lambda *_: True\n    __ne__ = lambda *_: False\n    __hash__ = object.__hash__\n"
)
FORGERIES = {
    "the walls are said to be missing": EVERY_FILE.format(b"walls it lacks everything\n") + "os._exit(0)",
    "the walls are said to stand": EVERY_FILE.format(b"up\nup\n") + "os._exit(0)",
    "a wall is said to be missing after a look for the secret": "import os\nos.set_blocking(3, False)\n"
    "try:\n    secret = os.read(3, 64)\nexcept OSError:\n    secret = b''\n"
    "os.write(4, b'walls ' + secret + b' it lacks everything')\nos._exit(0)",
    "a pass is said": EVERY_FILE.format(b"passed") + "os._exit(0)",
    "a pass is said and the secret looked for": "import os\nos.write(4, b'passed ' + os.read(3, 64))\nos._exit(0)",
    "a pass is said in an answer's form": EVERY_FILE.format(b"\0\0\0\6rpassed") + "def f(x): return 5",
    "an answer is made up": EVERY_FILE.format(b"\0\0\0\15rt\0\0\0\2Nt\0\0\0\0") + "def f(x): return 5",
    "equal to everything": f"class Yes:\n{EQUAL}def f(x): return Yes()",
    "a number equal to everything": f"class Yes(int):\n{EQUAL}def f(x): return Yes(5)",
    "a list equal to everything": f"class Yes(list):\n{EQUAL}def f(x): return Yes([5])",
    "said to be a number": f"class Yes:\n    __class__ = int\n{EQUAL}def f(x): return Yes()",
    "a repr that lies": "class Four:\n    __repr__ = __str__ = lambda _: '4'\ndef f(x): return Four()",
    "equal by its class": f"class Meta(type):\n{EQUAL}class Yes(metaclass=Meta): pass\ndef f(x): return Yes",
    "called instead of the tests": "import builtins\nbuiltins.exec = builtins.compile = print\ndef f(x): return 5",
    "its caller's names": "import sys\nfor depth in range(9):\n    try:\n        frame = sys._getframe(depth)\n"
    "    except ValueError:\n        break\n    frame.f_globals.update(os=None, encode=None)\ndef f(x): return 5",
    "the harness says that nothing failed": f"{HARNESS}\nfor peer in found:\n    peer.stopped = None\n"
    "    peer._tests = True\ndef f(x): return 5",
    "the harness gives the tests their built-ins": f"{HARNESS}\ndef load(*_):\n    return {{'f': lambda x: 5, "
    "'__builtins__': {'AssertionError': None}, 'AssertionError': print, '__name__': 'x', 'abs': print}\n"
    "for peer in found:\n    peer._mine[0] = load\nf = load",
    "the harness answers by itself": f"{HARNESS}\nfor peer in found:\n    peer._send(b'r', b'N')\ndef f(x): return 5",
    "its own memory": "open('/proc/self/mem', 'r+b')\ndef f(x): return 5",
    "an exit in a call": "import sys\ndef f(x): sys.exit(0)",
    "a fork bomb": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "an end in a call": "import os\ndef f(x): os._exit(0)",
    "an end by a signal": "import os\ndef f(x): os.kill(os.getpid(), 15)",
    "an end of its group": "import os\ndef f(x): os.kill(0, 9)",
    "a stop of its group": "import os, signal\ndef f(x): os.kill(0, signal.SIGSTOP)",
    "an end by a wrong address": "import ctypes\ndef f(x): ctypes.string_at(0)",
    "at its exit": "import atexit, os\natexit.register(os.write, 4, b'passed')\ndef f(x): raise SystemExit",
    "a timer": "import signal\nsignal.signal(signal.SIGALRM, lambda *_: 1 / 0)\nsignal.setitimer(0, 1e-4, 1e-4)\n"
    "def f(x):\n    while True: pass",
    "a trace": "import sys\nsys.settrace(lambda *_: sys.exit(0))\ndef f(x): return 5",
    "an exception that is no Exception": "def f(x): raise type('Odd', (BaseException,), {})",
    "an exception that cannot be told": "class Odd(Exception):\n    args = property(lambda _: 1 / 0)\n"
    "    __str__ = __repr__ = lambda _: 1 / 0\ndef f(x): raise Odd",
    "an exception of the harness": "import sys\ndef f(x): raise sys.modules['walled.peer'].StopError('passed')",
    "a generator's exit": "def f(x): raise GeneratorExit",
    "an exception without end": "class E(Exception): pass\ndef f(x): raise E('x' * 10**7)",
    "a number without end": "def f(x): return 1 << 10**8",
    "a list without end": "def f(x):\n    a = []\n    a.append(a)\n    return a",
    "a text without end": "def f(x): return 'x' * 10**8",
    "levels without end": "def f(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
    "copies without end": "def f(x):\n    a = [1]\n    for _ in range(60): a = [[*a], [*a]]\n    return a",
    "doubling without end": "def f(x):\n    a = ()\n    for _ in range(60): a = (a, a)\n    return a",
    "an iterator without end": "import itertools\ndef f(x): return itertools.count()",
    "recursion without end": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x)",
    "not equal to itself": "def f(x): return float('nan')",
    "a coroutine": "async def f(x): return 4",
    "a module": "import math as f",
    "not implemented": "def f(x): return NotImplemented",
}


@pytest.mark.parametrize("program", FORGERIES.values(), ids=FORGERIES)
def test_no_program_passes_by_what_it_says_of_itself(program: str) -> None:
    ran = run_tests(program, TESTS, "f", time_limit=3)
    assert not ran.passed
    assert ran.reason


@pytest.mark.parametrize(
    "program",
    [
        "def f(x): raise StopIteration",
        "class Odd(StopIteration): pass\ndef f(x): raise Odd",
        "import os\ndef f(x): os._exit(0)",
        "class Odd: pass\ndef f(x): return Odd()",
        "def f(x):\n    x = []\n    x.append(x)\n    return x",
    ],
)
@pytest.mark.parametrize(
    "tests",
    [
        "for got, right in zip(map(f, [1, 2]), [2, 4]):\n    assert got == right",
        "try:\n    assert f(2) == 4\nexcept ValueError:\n    pass\nexcept Exception:\n    raise",
    ],
)
def test_no_exception_ends_the_tests_early(program: str, tests: str) -> None:
    assert not run_tests(program, tests, "f", time_limit=20).passed
    assert verdict(RIGHT, tests).passed


def test_tests_that_catch_everything_do_not_hide_the_programs_end() -> None:
    tests = "for x in range(3):\n    try:\n        f(x)\n    except BaseException:\n        pass"
    assert verdict("import os\ndef f(x): os._exit(0)", tests) == Verdict(False, "it ended itself")
    assert verdict("def f(x): 1 / 0", tests).passed


def test_what_the_tests_expect_is_not_in_the_programs_memory() -> None:
    look = (
        "import gc\n"
        "def f(known):\n"
        "    word = ''.join(['need', 'le'])\n"
        "    texts = (text for each in gc.get_objects() for text in gc.get_referents(each) if isinstance(text, str))\n"
        "    return sum(word in text and text not in (word, known) for text in texts)\n"
    )
    assert verdict(look, "assert f('need') == 0  # needle").passed
    assert not verdict("KEPT = ['a needle']\n" + look, "assert f('need') == 0").passed


BOMBS = {
    "lone surrogates": "def f(x): return 2 * x  # \ud83d",
    "NUL": "def f(x): return 2 * x\0",
    "long": RIGHT + "#" * LONGEST,
    "nested parentheses": "(" * 100_000,
    "nested minus": "-" * 100_000 + "1",
    "nested attributes": "a" + ".b" * 100_000,
    "nested calls": "f(" * 90 + "!",
    "nested blocks": "\n".join(" " * level + "if 1:" for level in range(200)),
    "a long number": "x = " + "9" * 500_000,
    "many lines": "x = 1\n" * 10_000 + "So that is it.",
    "memory": "x = []\nwhile True:\n    x.append(bytes(2**20))",
    "memory in a call": "def f(x):\n    return bytearray(2**40)",
}


@pytest.mark.parametrize("program", BOMBS.values(), ids=BOMBS)
def test_no_program_text_ends_more_than_its_own_check(program: str) -> None:
    whole = verdict(program)
    assert not whole.passed
    assert whole.reason
    begun = verdict((program, "x" + program))
    assert not begun.passed
    assert begun.reason
    assert not scorers.code(f"```python\n{program}\n```\n", {"tests": TESTS, "entry": "f"})
