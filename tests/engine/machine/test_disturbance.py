"""Whether a run was held up: the arithmetic, what is read of the system, and a real run beside real disturbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Engine
from engine.machine.disturbance import (
    DisturbanceWatch,
    Reading,
    disturbance_between,
    name_engine_thread,
    read_counters,
    stand_behind_engine_threads,
)
from engine.machine.environment import last_level_cache_bytes, machine_environment
from engine.types import Disturbance
from tests.engine.test_engine import finish, request_for
from tests.support.disturbing import DISTURBED, QUIET, WHY

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts how long threads wait for a core")

seconds = st.floats(0, 1e7)
unknown = st.none() | seconds
readings = st.builds(
    Reading,
    at=seconds,
    cores=st.integers(1, 512),
    process_s=seconds,
    used_s=unknown,
    stolen_s=unknown,
    engine=st.none() | st.dictionaries(st.integers(1, 9), st.tuples(seconds, seconds), max_size=5),
    throttled_s=unknown,
    heat_s=unknown,
    clock_hz=st.none() | st.floats(1e5, 1e10),
)


# --- the arithmetic ---------------------------------------------------------------------------------


@given(readings, readings, st.integers(1, 600))
def test_no_time_is_negative_and_no_share_above_one_whatever_is_read(
    begin: Reading, end: Reading, threads: int
) -> None:
    found = disturbance_between(begin, end, threads)
    assert all(value >= 0 for value in asdict(found).values() if value is not None)
    assert found.wait_share is None or 0 <= found.wait_share <= 1
    assert 1 <= found.threads <= found.cores
    assert bool(found.why) == found.is_disturbed


@given(readings, readings, st.integers(1, 600))
def test_it_comes_back_from_json_as_it_was(begin: Reading, end: Reading, threads: int) -> None:
    found = disturbance_between(begin, end, threads)
    assert Disturbance.from_dict(json.loads(json.dumps(asdict(found)))) == found


@given(readings)
def test_where_nothing_happened_nothing_is_disturbed(reading: Reading) -> None:
    assert not disturbance_between(reading, reading, 2).is_disturbed


def test_it_says_who_took_how_much() -> None:
    assert (DISTURBED.is_disturbed, DISTURBED.why) == (True, WHY)
    assert (QUIET.is_disturbed, QUIET.why) == (False, "")


def test_a_busy_program_on_a_core_that_the_engine_leaves_idle_disturbs_nothing() -> None:
    spare = Disturbance(seconds=10.0, cores=64, threads=2, programs_s=600.0)
    assert (spare.wait_share, spare.is_disturbed) == (0.0, False)
    taken = replace(spare, programs_s=630.0)
    assert taken.wait_share == pytest.approx(0.5)
    assert taken.is_disturbed


def test_what_the_engines_threads_waited_decides_where_it_is_known() -> None:
    # everything was busy, and the scheduler let the engine go first
    first = Disturbance(seconds=10.0, cores=2, threads=2, programs_s=20.0, ran_s=19.0, waited_s=1.0)
    assert first.wait_share == pytest.approx(0.05)
    assert not first.is_disturbed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threads_s": 1.9}, "Other threads of Gearbox's own process were busy 95 % of the time."),
        ({"stolen_s": 0.8}, "The host of this machine gave 20 % of its processor time to others."),
        ({"heat_s": 0.5}, "The processor was too hot and ran slower 25 % of the time."),
        ({"clock_change": 0.5}, "The processor's clock fell by 50 %."),
    ],
)
def test_a_busy_thread_a_host_and_heat_disturb_too(change: dict[str, float], said: str) -> None:
    assert replace(QUIET, **change).why == said


def test_a_group_stopped_by_its_own_limit_is_told_of_and_no_disturbance() -> None:
    assert not replace(QUIET, throttled_s=1.5).is_disturbed


def test_a_single_switch_in_a_short_run_is_no_disturbance() -> None:
    assert not Disturbance(seconds=0.02, cores=2, threads=2, ran_s=0.03, waited_s=0.01).is_disturbed


def test_threads_that_begin_meanwhile_start_from_nothing_and_those_that_end_are_forgotten() -> None:
    begin = Reading(at=0.0, cores=2, process_s=1.0, engine={1: (1.0, 0.5), 2: (7.0, 7.0)})
    end = Reading(at=4.0, cores=2, process_s=6.0, engine={1: (3.0, 0.75), 3: (2.0, 0.25)})
    found = disturbance_between(begin, end, 2)
    assert (found.ran_s, found.waited_s, found.threads_s) == (4.0, 0.5, 1.0)


def test_a_watch_tells_of_what_happened_since_it_was_made() -> None:
    moments = iter(
        [Reading(at=1.0, cores=4, process_s=2.0, used_s=10.0), Reading(at=3.0, cores=4, process_s=5.0, used_s=14.0)]
    )
    found = DisturbanceWatch(2, lambda: next(moments)).end()
    assert (found.seconds, found.programs_s, found.waited_s) == (2.0, 1.0, None)


# --- what is read -----------------------------------------------------------------------------------


def thread(tasks: Path, number: int, name: str, schedstat: str | None) -> None:
    folder = tasks / str(number)
    folder.mkdir(parents=True)
    (folder / "comm").write_text(f"{name}\n")
    if schedstat is not None:
        (folder / "schedstat").write_text(f"{schedstat}\n")


def test_only_the_engines_threads_are_counted(tmp_path: Path) -> None:
    own = f"engine {threading.get_native_id()}"
    thread(tmp_path, 1, own, "2000000000 500000000 7")
    thread(tmp_path, 2, own, "1000000000 250000000 7")
    thread(tmp_path, 3, "python", "9000000000 9000000000 9")
    thread(tmp_path, 4, "engine 1", "9000000000 9000000000 9")
    assert read_counters(tasks=tmp_path).engine == {1: (2.0, 0.5), 2: (1.0, 0.25)}


def test_a_kernel_that_counts_no_waiting_leaves_it_unknown(tmp_path: Path) -> None:
    thread(tmp_path, 1, f"engine {threading.get_native_id()}", None)
    assert read_counters(tasks=tmp_path).engine is None
    assert read_counters(tasks=tmp_path / "nowhere").engine is None


def test_heat_and_clock_are_read_where_the_machine_tells(tmp_path: Path) -> None:
    assert (read_counters(cpus=tmp_path).heat_s, read_counters(cpus=tmp_path).clock_hz) == (None, None)
    for cpu in range(os.cpu_count() or 1):
        for name, text in (
            ("thermal_throttle/core_throttle_total_time_ms", "250"),
            ("cpufreq/scaling_cur_freq", "2400000"),
        ):
            file = tmp_path / f"cpu{cpu}" / name
            file.parent.mkdir(parents=True)
            file.write_text(f"{text}\n")
    found = read_counters(cpus=tmp_path)
    assert (found.heat_s, found.clock_hz) == (pytest.approx(0.25), pytest.approx(2.4e9))


@linux
def test_a_named_thread_is_told_from_others() -> None:
    found: list[Reading] = []

    def work() -> None:
        found.append(read_counters())
        name_engine_thread()
        found.append(read_counters())

    engine = threading.Thread(target=work)
    engine.start()
    engine.join()
    assert found[0].engine is None
    assert list(found[1].engine or ()) == [engine.native_id]


@linux
def test_a_thread_that_loads_is_none_of_the_engines_and_stands_behind_them() -> None:
    seen: list[tuple[str, int, int]] = []

    def load() -> None:
        own = threading.get_native_id()
        before = os.getpriority(os.PRIO_PROCESS, own)
        stand_behind_engine_threads()
        name = Path(f"/proc/self/task/{own}/comm").read_text().strip()
        seen.append((name, before, os.getpriority(os.PRIO_PROCESS, own)))

    def compute() -> None:
        name_engine_thread()
        loading = threading.Thread(target=load)
        loading.start()
        loading.join()

    engine, own = threading.Thread(target=compute), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    engine.start()
    engine.join()
    ((name, before, after),) = seen
    assert name.startswith("loading")
    assert before == own
    assert after == min(before + 5, 19)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own, "only the thread itself steps back"


def test_the_largest_cache_of_the_last_level_is_read(tmp_path: Path) -> None:
    assert last_level_cache_bytes(tmp_path) is None
    for index, (level, size) in enumerate([("1", "32K"), ("1", "48K"), ("3", "32768K"), ("2", "1024K")]):
        folder = tmp_path / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        (folder / "level").write_text(f"{level}\n")
        (folder / "size").write_text(f"{size}\n")
    assert last_level_cache_bytes(tmp_path) == 32 * 2**20
    assert "last_level_cache_bytes" in machine_environment()


# --- real runs --------------------------------------------------------------------------------------


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    """Programs that compute all the time, from their first moment on."""
    code = "print('busy', flush=True)\nwhile True: pass"
    programs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "busy\n"
        yield
    finally:
        for program in programs:
            program.kill()
            program.communicate()


def disturbance_of(engine: Engine, *, tokens: int) -> Disturbance:
    found = finish(engine, request_for("Tell me of the sea.", max_tokens=tokens)).disturbance
    assert found is not None
    return found


def test_a_run_beside_two_busy_programs_a_core_is_marked(engine: Engine) -> None:
    disturbance_of(engine, tokens=1)  # the model is loaded
    with busy_programs(2 * (os.cpu_count() or 1)):
        found = disturbance_of(engine, tokens=12)
    assert found.is_disturbed
    assert "%" in found.why
    assert found.programs_s is None or found.programs_s > 0.3 * found.seconds


@linux
def test_a_run_tells_the_engines_own_threads_from_others(engine: Engine) -> None:
    disturbance_of(engine, tokens=1)
    found = disturbance_of(engine, tokens=8)
    assert found.ran_s
    assert found.threads_s is not None
    assert found.waited_s is not None
    assert found.sharing == 0


@pytest.mark.slow
def test_a_run_on_a_quiet_machine_is_not_marked(engine: Engine) -> None:
    disturbance_of(engine, tokens=1)
    found = []
    for _ in range(3):
        wait_until_quiet()
        found.append(disturbance_of(engine, tokens=24))
        if not found[-1].is_disturbed:
            return
    pytest.fail(f"marked each time: {found}")


def wait_until_quiet() -> None:
    until = time.monotonic() + 60
    while psutil.cpu_percent(1.0) > 5:
        if time.monotonic() > until:
            pytest.skip("other programs use this machine all the time")
