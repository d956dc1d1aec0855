"""Code that misbehaves gets nowhere, and no bad answer passes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from engine.errors import SandboxUnavailableError
from engine.evaluation import sandbox, scorers
from engine.evaluation.sandbox import LONGEST, Verdict, run_tests, why_not
from tests.conftest import REPOSITORY
from tests.evaluation import needs_sandbox

pytestmark = needs_sandbox

TESTS = "assert f(2) == 4"
RIGHT = "def f(x):\n    return 2 * x\n"


def verdict(program: str | tuple[str, ...], tests: str = TESTS) -> Verdict:
    return run_tests(program, tests, "f", time_limit=20)


def inside(statement: str) -> str:
    """What a statement that must fail inside the sandbox raises."""
    ran = verdict(f"import os\ndef f():\n    {statement}\n", "f()")
    assert not ran.passed
    return ran.reason


def test_right_passes_and_wrong_does_not() -> None:
    assert verdict(RIGHT) == Verdict(True)
    assert verdict("def f(x):\n    return 3 * x") == Verdict(False, "AssertionError")
    assert "SyntaxError" in verdict("def f(x)").reason
    assert "defines no f" in verdict("def g(x):\n    return 4").reason
    assert "ZeroDivisionError" in verdict("def f(x):\n    return x / 0").reason


def test_the_standard_library_is_there() -> None:
    modules = "bisect, collections, copy, datetime, decimal, fractions, functools, hashlib, heapq, itertools, json, re"
    assert verdict(f"import {modules}, random, statistics, typing\nhashlib.md5(b'x')\nrandom.random()\n{RIGHT}").passed


def test_an_endless_loop_is_ended() -> None:
    ran = run_tests("def f(x):\n    while True:\n        pass", TESTS, "f", time_limit=1)
    assert ran == Verdict(False, "it took longer than 1 s")
    ignoring = "import signal\nfor n in set(signal.Signals) - {9, 19}:\n    signal.signal(n, signal.SIG_IGN)\n"
    assert not run_tests(f"{ignoring}while True:\n    pass", TESTS, "f", time_limit=1).passed


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The first process of every sandbox."""
    children: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            children.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return children


def in_session(session: int) -> list[str]:
    """What is left of a sandbox's processes, also of those that nobody has waited for."""
    left = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = stat.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields.split()[3]) == session:
            left.append(f"{name} {fields.split()[0]}")
    return left


@pytest.mark.parametrize(
    ("program", "passed"),
    [
        (RIGHT, True),
        ("open('x', 'w').write('1')\nwhile True:\n    pass", False),
        ("import os\nos._exit(0)", False),
        ("import os\nos.kill(os.getpid(), 9)", False),
        ("import os\nos.kill(0, 19)\nos.kill(0, 9)", False),
    ],
)
def test_nothing_stays_behind(
    program: str, passed: bool, started: list[subprocess.Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        assert run_tests(program, TESTS, "f", time_limit=20 if passed else 2).passed is passed
    assert list(tmp_path.iterdir()) == []
    assert set(Path("/proc/self/fd").iterdir()) == before
    assert len(started) == 3
    assert [left for child in started for left in in_session(child.pid)] == []


def test_a_server_that_is_killed_takes_the_sandbox_with_it() -> None:
    script = (
        "import subprocess, sys; sys.path.insert(0, sys.argv[1])\n"
        "from engine.evaluation import sandbox\n"
        "assert sandbox.why_not() is None\n"
        "class Told(subprocess.Popen):\n"
        "    def __init__(self, *args, **kwargs):\n"
        "        super().__init__(*args, **kwargs)\n"
        "        print(self.pid, flush=True)\n"
        "subprocess.Popen = Told\n"
        "sandbox.run_tests('while True: pass', '', 'f', time_limit=60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(REPOSITORY)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        session = int(server.stdout.readline())
        ended = monotonic() + 20
        while len(in_session(session)) < 5 and monotonic() < ended:
            sleep(0.05)
        assert len(in_session(session)) == 5
        server.kill()
    while in_session(session) and monotonic() < ended:
        sleep(0.05)
    assert in_session(session) == []


@pytest.mark.parametrize(
    "statement",
    [
        "os.fork()",
        "os.forkpty()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "__import__('subprocess').run(['/bin/true'])",
        "__import__('threading').Thread(target=print).start()",
        "while True: os.fork()",
    ],
)
def test_no_other_process_is_started(statement: str) -> None:
    reason = inside(statement)
    assert "not permitted" in reason or "can't start new thread" in reason or "Permission" in reason


@pytest.mark.parametrize("allocation", ["bytes(10 * 2**30)", "[0] * 10**10", "'x' * 10**10"])
def test_ten_gigabytes_are_not_to_be_had(allocation: str) -> None:
    assert "MemoryError" in inside(allocation)


def test_files_outside_are_neither_read_nor_written(tmp_path: Path) -> None:
    kept = tmp_path / "kept.db"
    kept.write_text("secret", encoding="utf-8")
    for path in ("/etc/passwd", str(kept), str(REPOSITORY / "README.md"), "/proc/self/environ", "/proc/1/cmdline"):
        assert "Permission" in inside(f"open({path!r}).read()")
    for folder in (str(tmp_path), "/tmp", str(REPOSITORY), "/", "/dev/shm"):
        reason = inside(f"open({folder!r} + '/gearbox-was-here', 'w')")
        assert "Read-only" in reason or "Permission" in reason
        assert not Path(folder, "gearbox-was-here").exists()
    for statement in (
        f"os.listdir({str(tmp_path)!r})",
        f"os.remove({str(kept)!r})",
        f"os.rename({str(kept)!r}, 'mine')",
        f"os.chmod({str(kept)!r}, 0)",
        f"os.utime({str(kept)!r})",
        f"os.truncate({str(kept)!r}, 0)",
        f"os.symlink({str(kept)!r}, 'x'); open('x').read()",
        f"os.link({str(kept)!r}, 'x')",
        f"os.setxattr({str(kept)!r}, 'user.x', b'1')",
        f"os.mkdir({str(tmp_path / 'new')!r})",
    ):
        assert inside(statement)
    assert kept.read_text(encoding="utf-8") == "secret"
    assert kept.stat().st_mode & 0o400
    assert [path.name for path in tmp_path.iterdir()] == ["kept.db"]


def test_its_own_folder_is_there_and_small() -> None:
    assert verdict("def f(x):\n    open('a', 'w').write('4')\n    return int(open('a').read())").passed
    filling = "for i in range(100):\n        open(str(i), 'wb').write(bytes(2**19))"
    assert "No space left" in inside(filling)
    assert "too large" in inside("open('a', 'wb').write(bytes(2**21))")


def test_there_is_no_network(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        assert "not permitted" in inside("import socket; socket.socket(socket.AF_UNIX)")
    assert "not permitted" in inside("import socket; socket.create_connection(('127.0.0.1', 80))")
    assert inside("import urllib.request; urllib.request.urlopen('http://127.0.0.1/')")


def test_other_processes_and_the_environment_are_out_of_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEARBOX_PROBE", "1")
    assert verdict("import os\ndef f():\n    return dict(os.environ)", "assert 'GEARBOX_PROBE' not in f()").passed
    assert "ProcessLookupError" in inside(f"os.kill({os.getpid()}, 9)")
    assert verdict("import os\ndef f():\n    return os.getpid()", "assert f() == 1").passed
    assert verdict("import os\ndef f():\n    return os.getuid()", "assert f() == 1000").passed


@pytest.mark.parametrize("call", ["unshare(0x10000000)", "unshare(0x20000)", "prctl(1, 0, 0, 0, 0)", "setsid()"])
def test_the_walls_are_not_taken_down(call: str) -> None:
    assert verdict(f"import ctypes\ndef f():\n    return ctypes.CDLL(None).{call}", "assert f() == -1").passed


def test_limits_are_not_raised() -> None:
    assert "ValueError" in inside("import resource; resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))")


def test_a_gigabyte_of_output_is_nobodys() -> None:
    loud = "import sys\nfor _ in range(1000):\n    sys.stdout.write('x' * 10**6)\n    sys.stderr.write('x' * 10**3)\n"
    assert verdict(loud + RIGHT).passed
    flood = "import os\nwhile True:\n    os.write(4, b'x' * 4096)\n"
    assert verdict(flood + RIGHT) == Verdict(False, "it answered with something that is no plain data")
    silent = "import os\nwhile True:\n    os.write(1, b'x' * 4096)\n"
    assert run_tests(silent + RIGHT, TESTS, "f", time_limit=1) == Verdict(False, "it took longer than 1 s")


def test_standard_input_is_empty() -> None:
    assert "EOFError" in inside("input()")


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nsys.exit(0)",
        "import os\nos._exit(0)",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "def f(x):\n    import os\n    os._exit(0)",
        "def f(x):\n    raise SystemExit(0)",
        "print('passed')\nimport os\nos._exit(0)",
        "import os\nos.write(1, b'passed')\nos._exit(0)",
        "import os\nos.write(4, b'passed')\nos._exit(0)",
        "import os\nos.write(4, b'walls it lacks everything')\nos._exit(0)",
        "import os\nos.write(4, b'passed ' + b'0' * 32)\nos._exit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nwhile True: pass",
        "import builtins\nbuiltins.AssertionError = type('Quiet', (BaseException,), {})\ndef f(x): return 5",
        "import os\nos.write = os.read = os._exit = lambda *a: None\ndef f(x): return 5",
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None\ndef f(x): return 5",
        "import sys\nsys.modules['os'] = sys.modules['builtins'] = None\ndef f(x): return 5",
        "import atexit, os\natexit.register(os._exit, 0)\nimport sys\nsys.exit()",
        "f = None",
        "",
    ],
)
def test_what_never_reached_the_end_of_the_tests_has_not_passed(program: str) -> None:
    assert not run_tests(program, TESTS, "f", time_limit=3).passed


def test_built_ins_are_the_tests_own() -> None:
    cheat = "import builtins\nbuiltins.abs = abs = lambda x: 0\nbuiltins.len = len = lambda x: 4\ndef f(x): return 9"
    assert not verdict(cheat, "assert abs(f(2) - 4) < 1e-6").passed
    assert not verdict(cheat, "assert len([f(2)]) == 4").passed


def test_a_main_block_is_not_run() -> None:
    assert verdict(f"{RIGHT}\nif __name__ == '__main__':\n    raise SystemExit(input())").passed


def test_a_machine_without_the_walls_refuses_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "why_not", lambda: "Code cannot be run safely here.")
    with pytest.raises(SandboxUnavailableError, match="safely"):
        scorers.code("def f(): pass", {"tests": "f()", "entry": "f"})


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_missing_wall_is_named() -> None:
    script = (
        "import ctypes, resource, sys; sys.path.insert(0, sys.argv[1])\n"
        "from engine.evaluation import sandbox\n"
        "from pathlib import Path\n"
        "Path('/proc/sys/user/max_net_namespaces').write_text('0')\n"
        "print(sandbox.why_not())\n"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", script, str(REPOSITORY)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(done.stderr[-200:])
    assert "user namespaces" in done.stdout
    assert "cannot be run safely on this machine" in done.stdout


# --- what a program says of itself ----------------------------------------------------------------------

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


# --- what a right program may do ------------------------------------------------------------------------

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


# --- what is no program's doing -------------------------------------------------------------------------


def test_a_sandbox_that_does_not_start_says_so_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        sandbox._try.cache_clear()
        assert "ended before its walls stood" in (why_not() or "")
        broken.setattr(sys, "executable", "/no/such/python")
        assert "could not be started: No such file" in (why_not() or "")
        broken.undo()
        broken.setattr(sandbox, "_FOLDER", "/no/such/folder")
        assert "No module named 'walled'" in (why_not() or "")
    assert why_not() is None


def test_all_counts_against_the_time_limit() -> None:
    assert run_tests(RIGHT, TESTS, "f", time_limit=0) == Verdict(False, "it took longer than 0 s")
    asleep = "import time\ntime.sleep(60)"
    assert run_tests(RIGHT, asleep, "f", time_limit=1) == Verdict(False, "it took longer than 1 s")
