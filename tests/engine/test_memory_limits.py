"""Limits on a process's memory: it works or says in words that it cannot, and is never ended by a library."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from engine import Engine
from engine.errors import InsufficientMemoryError
from engine.machine import limits, memory
from engine.machine.limits import cgroup_left
from engine.machine.memory import available_bytes, memory_errors_in_words
from tests.conftest import REPOSITORY, SMALL
from tests.engine.test_engine import failure, finish, request_for

GIB = 2**30


def generate(models_dir: Path, kind: int, limit: int) -> subprocess.CompletedProcess[str]:
    """Ask a model something, in a process with a limit."""
    command = ["generate", "--model", SMALL, "--quantization", "int8", "--prompt", "Say hi", "--max-tokens", "2"]
    return subprocess.run(
        [sys.executable, "-m", "engine", *command],
        cwd=REPOSITORY,
        env=os.environ | {"GEARBOX_DATA_DIR": str(models_dir.parent)},
        preexec_fn=lambda: resource.setrlimit(kind, (limit, limit)),
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def assert_answered_or_refused(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode == 0:
        assert done.stdout.strip()
        return
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "emory" in line or "limit" in line


def test_an_address_space_of_less_than_a_gigabyte_is_refused_in_words(models_dir: Path) -> None:
    done = generate(models_dir, resource.RLIMIT_AS, 900_000 * 1024)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "ulimit -v" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("mib", [200, 500, 1000, 1200, 1400, 1500, 1600, 1800, 2000, 3000, 6000])
def test_any_address_space_answers_or_refuses(models_dir: Path, mib: int) -> None:
    assert_answered_or_refused(generate(models_dir, resource.RLIMIT_AS, mib * 2**20))


@pytest.mark.slow
@pytest.mark.parametrize("mib", [150, 300, 500, 700, 1000, 1500, 3000])
def test_any_limit_on_data_answers_or_refuses(models_dir: Path, mib: int) -> None:
    assert_answered_or_refused(generate(models_dir, resource.RLIMIT_DATA, mib * 2**20))


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError("std::bad_alloc"), True),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (RuntimeError("unable to mmap 269060552 bytes from file <m>: Cannot allocate memory (12)"), True),
        (RuntimeError("can't start new thread"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(28, "No space left on device"), False),
        (ZeroDivisionError(), False),
    ],
    ids=str,
)
def test_memory_that_runs_out_is_told_from_other_errors(error: Exception, is_memory: bool) -> None:
    with (
        pytest.raises(InsufficientMemoryError if is_memory else type(error)) as raised,
        memory_errors_in_words("it was tried"),
    ):
        raise error
    assert not is_memory or "while it was tried" in str(raised.value)


def test_memory_that_runs_out_within_an_answer_ends_that_run_alone(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    engine = Engine(models_dir)
    with monkeypatch.context() as patch:
        patch.setattr("engine.models.decoders.native_decoder.NativeDecoder.write_many", full)
        failed = failure(engine, request_for("hi"))
    assert failed.kind == "InsufficientMemoryError"
    assert "Memory ran out" in failed.error
    assert finish(engine, request_for("hi", max_tokens=2)).metrics.completion_tokens == 2
    engine.close()


# --- what is left -----------------------------------------------------------------------------------------


def group(folder: Path, limit: str, used: int, inactive: int = 0, *, old: bool = False) -> None:
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if old else ("memory.max", "memory.current")
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{'total_inactive_file' if old else 'inactive_file'} {inactive}\n")


def test_the_tightest_control_group_counts_and_pages_of_files_do_not(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/outer/inner\n")
    top = tmp_path / "fs"
    group(top / "outer" / "inner", "max", 2 * GIB)
    assert cgroup_left(top, membership) is None
    group(top / "outer", str(4 * GIB), 3 * GIB, GIB // 2)
    assert cgroup_left(top, membership) == 3 * GIB // 2
    group(top / "outer" / "inner", str(GIB), 2 * GIB)
    assert cgroup_left(top, membership) == 0


def test_control_groups_of_the_first_version_are_regarded(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("9:name=systemd:/\n4:cpu,memory:/mine\n0::/\n")
    group(tmp_path / "fs" / "memory" / "mine", str(2 * GIB), GIB, 7, old=True)
    group(tmp_path / "fs" / "memory", "9223372036854771712", GIB, old=True)
    assert cgroup_left(tmp_path / "fs", membership) == GIB + 7


def test_without_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert cgroup_left(tmp_path, tmp_path / "missing") is None
    (tmp_path / "cgroup").write_text("0::/somewhere/else\n")
    assert cgroup_left(tmp_path, tmp_path / "cgroup") is None


@pytest.mark.parametrize("limit", ["cgroup_left", "data_left", "address_space_left"])
def test_the_least_of_all_limits_is_what_is_available(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_bytes() > 12345
    monkeypatch.setattr(memory, limit, lambda: 12345)
    assert available_bytes() == 12345


def test_this_process_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for left in (limits.address_space_left, limits.data_left):
        monkeypatch.setattr("engine.machine.limits.resource.getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
        assert left() is None
        monkeypatch.setattr("engine.machine.limits.resource.getrlimit", lambda _: (2**46, 2**46))
        measured = left()
        assert measured is not None
        assert 2**45 < measured < 2**46
        monkeypatch.setattr("engine.machine.limits.resource.getrlimit", lambda _: (4096, 4096))
        assert left() == 0
