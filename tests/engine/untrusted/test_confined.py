"""Strangers' templates and patterns end in bounded time, and nothing of them stays."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest

from engine.untrusted.confined import BeyondLimitsError, Confined, ForeignError

ENDLESS = {"pattern": r"^(\w+\s?)+\.$", "text": "word " * 40 + "!"}
"""Tried in more ways than anybody can wait for."""
QUICK = {"pattern": "a+", "text": "baa"}
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@pytest.fixture
def patterns() -> Iterator[Confined]:
    confined = Confined("patterns", seconds=1)
    yield confined
    confined.close()


@pytest.fixture(scope="module")
def templates() -> Iterator[Confined]:
    confined = Confined("templates", seconds=5)
    yield confined
    confined.close()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def render(templates: Confined, template: str) -> dict[str, Any]:
    turns = [{"role": "user", "content": "Hi"}]
    arguments = {"template": template, "conversations": [turns], "variables": {"bos_token": "<s>"}}
    (outcome,) = templates.run("render", arguments)
    assert isinstance(outcome, dict)
    return outcome


def test_one_process_does_job_after_job(patterns: Confined) -> None:
    before = children()
    assert patterns.run("search", QUICK) is True
    mine = children() - before
    assert patterns.run("search", {"pattern": "^a", "text": "baa"}) is False
    assert len(mine) == 1
    assert children() - before == mine
    patterns.close()
    assert children() == before


def test_a_job_without_end_is_stopped_and_the_next_one_runs(patterns: Confined) -> None:
    with pytest.raises(BeyondLimitsError, match="took longer than 1 s"):
        patterns.run("search", ENDLESS)
    assert patterns.run("search", QUICK) is True


def test_a_job_can_be_given_up() -> None:
    before = children()
    asked: list[float] = []

    def waiting() -> None:
        asked.append(monotonic())
        if len(asked) == 60:  # the process is there by now, or on its way
            raise KeyError("given up")

    slow = Confined("patterns", seconds=600)
    with pytest.raises(KeyError):
        slow.run("search", ENDLESS, waiting)
    slow.close()
    assert children() == before


def test_a_thread_does_not_wait_for_the_job_of_another(patterns: Confined) -> None:
    def search() -> None:
        with pytest.raises(BeyondLimitsError):
            patterns.run("search", ENDLESS)

    slow = threading.Thread(target=search)
    slow.start()
    done = 0
    while slow.is_alive():
        assert patterns.run("search", QUICK) is True
        done += 1
    slow.join()
    assert done > 1


def test_what_a_job_raises_is_told_and_the_process_stays(patterns: Confined) -> None:
    patterns.run("search", QUICK)
    before = children()
    with pytest.raises(ForeignError, match="unterminated") as told:
        patterns.run("search", {"pattern": "(a", "text": "a"})
    assert told.value.kind == "error"
    assert children() == before


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}", "took longer|memory"),
        ("{{ 'a' * 10**9 }}", "memory"),
        ("{{ 'a' * 10**7 }}", "wrote more than"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "too deep"),
        ("{{ " + "[" * 500 + "]" * 500 + " }}", "too deep"),
    ],
)
def test_a_template_goes_beyond_no_limit(templates: Confined, template: str, why: str) -> None:
    with pytest.raises(BeyondLimitsError, match=why):
        render(templates, template)
    assert render(templates, "{{ bos_token }}{{ messages[0].content }}") == {"text": "<s>Hi"}


@linux
def test_a_process_is_given_nothing_but_its_pipes(patterns: Confined, tmp_path: Path) -> None:
    before = children()
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        patterns.run("search", QUICK)
        (pid,) = children() - before
        files = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115 a pipe has no path
        assert sorted(name.split(":")[0] for name in files) == ["/dev/null", "pipe", "pipe"]
        names = {entry.split(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
        assert names <= {b"", b"TZ"}


def script(body: str) -> subprocess.CompletedProcess[str]:
    code = f"from engine.untrusted.confined import Confined\nimport os, threading, time, psutil\n{body}"
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


def test_an_exit_leaves_no_process_and_warns_of_nothing() -> None:
    done = script(
        f"c = Confined('patterns', 30)\nassert c.run('search', {QUICK})\n"
        f"print(*[p.pid for p in psutil.Process().children()])"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()
    assert not any(psutil.pid_exists(int(pid)) for pid in done.stdout.split())


@pytest.mark.slow
def test_a_parent_that_is_killed_takes_a_busy_process_with_it() -> None:
    """The job's own limit ends it: neither the parent nor the interpreter that it holds can."""
    done = script(
        f"c = Confined('patterns', 1)\nc.run('search', {QUICK})\n"
        f"threading.Thread(target=c.run, args=('search', {ENDLESS}), daemon=True).start()\ntime.sleep(0.3)\n"
        "print(*[p.pid for p in psutil.Process().children()], flush=True)\nos.kill(os.getpid(), 9)"
    )
    (pid,) = done.stdout.split()
    until = monotonic() + 60
    while psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE:
        assert monotonic() < until
        threading.Event().wait(0.1)


@linux
def test_a_fork_has_processes_of_its_own() -> None:
    done = script(
        f"c = Confined('patterns', 30)\nassert c.run('search', {QUICK})\n"
        "pid = os.fork()\n"
        f"assert c.run('search', {QUICK})\n"
        "if pid:\n    assert os.waitpid(pid, 0)[1] == 0\n"
        f"    assert c.run('search', {QUICK})\n"
        "print(len(psutil.Process().children()))"
    )
    assert (done.returncode, done.stdout.split()) == (0, ["1", "1"]), done.stderr
    assert "ResourceWarning" not in done.stderr
