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
from engine.evaluation.sandbox import Verdict, run_tests
from tests.conftest import REPOSITORY
from tests.evaluation import needs_sandbox

pytestmark = needs_sandbox

TESTS = "assert f(2) == 4"
RIGHT = "def f(x):\n    return 2 * x\n"


def verdict(program: str, tests: str = TESTS) -> Verdict:
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


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            children.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(Path("/proc/self/fd").iterdir())
    run_tests("open('x', 'w').write('1')\nwhile True:\n    pass", TESTS, "f", time_limit=1)
    assert list(tmp_path.iterdir()) == []
    assert set(Path("/proc/self/fd").iterdir()) == before
    (child,) = children
    ended = monotonic() + 20  # the system clears up after a killed process when it finds the time
    while monotonic() < ended:
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return
        sleep(0.05)
    pytest.fail("a process of the sandbox is still there")


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
    assert verdict(flood + RIGHT) == Verdict(False, "it ended before its tests were done")


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
