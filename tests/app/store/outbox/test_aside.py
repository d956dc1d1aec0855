"""Where results are written aside: which folder, whose files, on a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from app.settings import REPOSITORY
from app.store import RunStatus, RunStore, StoreError
from app.store.outbox.spool import places
from tests.support.waiting import create, finish, locked, open_store, spooled


@pytest.mark.usefixtures("unhurried")
def test_results_go_to_another_folder_where_the_first_takes_none(
    file: Path, temporary: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = create(store)
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().parent == file.parent:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    with locked(file):
        monkeypatch.setattr(os, "write", write)
        finish(store, run_id)
        monkeypatch.setattr(os, "write", real)
        assert store.waiting is not None
        assert [path.parent for path in store.waiting.aside] == [temporary]
        assert spooled(file.parent) == []
        store.close()
    again = open_store(file)
    assert again.get(run_id).status is RunStatus.FINISHED
    assert spooled(temporary) == []
    again.close()


@pytest.mark.usefixtures("unhurried")
def test_a_line_that_is_cut_off_by_a_full_disk_leaves_the_others_whole(
    file: Path, temporary: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [create(store) for _ in range(3)]
    real = os.write
    with locked(file):
        finish(store, runs[0])

        def half(descriptor: int, data: bytes) -> int:
            if Path(f"/proc/self/fd/{descriptor}").readlink().parent == file.parent:
                if len(data) < 100:
                    raise OSError(28, "No space left on device")
                return real(descriptor, data[: len(data) // 2])
            return real(descriptor, data)

        monkeypatch.setattr(os, "write", half)
        finish(store, runs[1])
        monkeypatch.setattr(os, "write", real)
        finish(store, runs[2])
        assert [len(path.read_bytes().splitlines()) for path in spooled(file.parent)] == [2]
        assert [len(path.read_bytes().splitlines()) for path in spooled(temporary)] == [1]
        store.close()
    again = open_store(file)
    assert [run.status for run in again.get_many(runs)] == [RunStatus.FINISHED] * 3
    again.close()


@pytest.mark.usefixtures("unhurried")
def test_results_that_no_folder_takes_are_told_of_and_written_aside_later(
    file: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = create(store)
    real = os.write

    def never(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with locked(file):
        monkeypatch.setattr(os, "write", never)
        finish(store, run_id)
        assert store.waiting is not None
        assert (store.waiting.results, store.waiting.in_memory_only) == (1, 1)
        monkeypatch.setattr(os, "write", real)
        with pytest.raises(StoreError):
            store._outbox.deliver()
        assert store.waiting.in_memory_only == 0


@pytest.mark.usefixtures("unhurried")
def test_a_file_deleted_while_results_wait_is_written_again(file: Path, store: RunStore) -> None:
    run_id = create(store)
    with locked(file):
        finish(store, run_id)
        spooled(file.parent)[0].unlink()
        with pytest.raises(StoreError):
            store._outbox.deliver()
        assert len(spooled(file.parent)) == 1


def test_nothing_of_another_user_and_no_link_is_taken_in(
    file: Path, waiting_runs: list[str], temporary: Path, tmp_path: Path
) -> None:
    (aside,) = spooled(file.parent)
    stolen = tmp_path / "elsewhere.jsonl"
    aside.rename(stolen)
    prefix = places(f"sqlite:///{file}", file)[-1].prefix
    (temporary / f"{prefix}.waiting-link.jsonl").symlink_to(stolen)
    if os.geteuid() == 0:
        foreign = temporary / f"{prefix}.waiting-foreign.jsonl"
        foreign.write_bytes(stolen.read_bytes())
        os.chown(foreign, 65534, 65534)
    store = open_store(file)
    assert [run.status for run in store.get_many(waiting_runs)] == [RunStatus.INTERRUPTED] * 3
    store.close()


def test_what_is_written_aside_is_nobody_elses_to_read(file: Path, store: RunStore) -> None:
    run_id = create(store)
    with locked(file):
        finish(store, run_id)
        assert [path.stat().st_mode & 0o777 for path in spooled(file.parent)] in ([0o600], [])


FULL_DISK = dedent("""
    import resource, sys
    from app.store import RunStore
    from tests.support.fakes import make_request
    from tests.support.waiting import finish
    store = RunStore.open(sys.argv[1])
    run_id = store.create_run(make_request(), person_id="s", environment={})
    size = 300_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    finish(store, run_id, "x" * 1_000_000)
    waiting = store.waiting
    assert waiting and waiting.in_memory_only == 1, waiting
    assert len(store.get(run_id).text) == 1_000_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.close()
    print(run_id)
""")


def test_a_process_that_may_write_no_larger_file_keeps_its_results_until_it_may(file: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, f"sqlite:///{file}"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    store = open_store(file)
    assert len(store.get(ended.stdout.strip()).text) == 1_000_000
    store.close()
