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
from engine.evaluation.sandbox import Verdict, run_tests, why_not
from tests.conftest import REPOSITORY
from tests.support.evaluation import RIGHT, TESTS, needs_sandbox, verdict

pytestmark = needs_sandbox


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


def test_a_server_that_is_killed_takes_the_sandbox_with_it(tmp_path: Path) -> None:
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
    started = [sys.executable, "-c", script, str(REPOSITORY)]
    # the empty folder that it leaves goes with this test's own
    with subprocess.Popen(started, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}) as server:
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


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("os.fork()", "not permitted"),
        ("os.kill(os.getppid() or 2, 9)", "ProcessLookupError"),
        ("socket.socket()", "not permitted"),
        ("open('/etc/passwd')", "Permission"),
        ("open('/proc/self/mem', 'rb')", "Permission"),
        ("open('/tmp/gearbox-was-here', 'w')", "Read-only"),
        ("open('/dev/shm/gearbox-was-here', 'w')", "Read-only"),
        ("bytes(10 * 2**30)", "MemoryError"),
        ("open('x', 'wb').write(bytes(2**21))", "too large"),
        ("assert ctypes.CDLL(None).unshare(0x10000000) == 0", "AssertionError"),
        ("resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))", "ValueError"),
    ],
)
def test_the_tests_are_walled_in_as_well(statement: str, words: str) -> None:
    assert words in verdict(RIGHT, f"import ctypes, os, resource, socket\n{statement}").reason


def test_a_program_has_no_files_but_its_calls() -> None:
    look = (
        "import os\ndef f():\n    found = []\n    for n in range(4096):\n        try:\n            os.fstat(n)\n"
        "        except OSError:\n            continue\n        found.append(n)\n    return found\n"
    )
    assert verdict(look, "assert f() == [0, 1, 2, 3, 4], f()") == Verdict(True)
    null = "import os\ndef f(n): return os.path.samestat(os.fstat(n), os.stat('/dev/null'))"
    assert verdict(null, "assert [f(n) for n in range(5)] == [True, True, True, False, False]") == Verdict(True)


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
