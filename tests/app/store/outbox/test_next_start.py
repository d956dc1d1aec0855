"""What still waits at the end lies in a file, and the next start takes it in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.store import RunStatus, RunStore, StoreError
from app.store.database import session as session_module
from tests.support.waiting import FINISHED, create, finish, locked, open_store, spooled, until


@pytest.mark.usefixtures("unhurried")
def test_closing_tries_once_more(file: Path, store: RunStore) -> None:
    run_id = create(store)
    with locked(file):
        finish(store, run_id)
    store.close()
    assert spooled(file.parent) == []
    again = open_store(file)
    assert again.get(run_id).status is RunStatus.FINISHED
    again.close()


def test_a_start_while_the_writer_lives_leaves_its_file_alone(file: Path, store: RunStore) -> None:
    run_id = create(store)
    store.finish_later(run_id, FINISHED, None, "locked")
    lines = [path.read_bytes() for path in spooled(file.parent)]
    other = open_store(file)
    assert lines in ([path.read_bytes() for path in spooled(file.parent)], [])  # or else it was delivered meanwhile
    other.close()
    until(lambda: store.waiting is None)


def test_results_of_a_killed_server_are_taken_in_at_the_next_start(file: Path, waiting_runs: list[str]) -> None:
    assert spooled(file.parent)
    store = open_store(file)
    assert [(run.status, run.text) for run in store.get_many(waiting_runs)] == [
        (RunStatus.FINISHED, f"answer {number}") for number in range(3)
    ]
    assert store.page().total == 3
    assert spooled(file.parent) == []
    store.close()


@pytest.mark.parametrize(
    "damage", [b'{"kind":"run","id":"x","fie', b"\xff\xfe\x00garbage", b'{"kind": 1}', b"[" * 99_999]
)
def test_a_damaged_last_line_loses_only_itself_and_is_put_aside(
    file: Path, waiting_runs: list[str], damage: bytes
) -> None:
    (aside,) = spooled(file.parent)
    whole = aside.read_bytes()
    aside.write_bytes(whole + damage)
    store = open_store(file)
    assert [run.status for run in store.get_many(waiting_runs)] == [RunStatus.FINISHED] * 3
    assert store.refused == (1, file.parent / "gearbox.db.refused.jsonl")
    assert (file.parent / "gearbox.db.refused.jsonl").read_bytes() == damage + b"\n"
    assert spooled(file.parent) == []
    store.close()


def test_a_truncated_file_gives_all_that_is_whole(file: Path, waiting_runs: list[str]) -> None:
    (aside,) = spooled(file.parent)
    aside.write_bytes(aside.read_bytes()[:-40])
    store = open_store(file)
    assert [run.status for run in store.get_many(waiting_runs)] == [
        RunStatus.FINISHED,
        RunStatus.FINISHED,
        RunStatus.INTERRUPTED,
    ]
    store.close()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"run_id": "r", "beginning": {"id": "r"}},
        {"run_id": ["x"], "beginning": None},
        {"result_id": {}, "place": 1},
    ],
)
@pytest.mark.parametrize("kind", ["run", "answer", "timing", "lab-window", "lab-speed", "draft", "unheard of"])
def test_a_line_that_means_nothing_holds_nothing_up(file: Path, kind: str, fields: dict[str, object]) -> None:
    store = open_store(file)
    line = json.dumps({"kind": kind, "id": "1", "fields": fields}).encode()
    (file.parent / "gearbox.db.waiting-strange.jsonl").write_bytes(line)
    store._outbox.take_in()
    assert spooled(file.parent) == []
    assert store.page().total == 0
    store.close()


@pytest.mark.usefixtures("unhurried")
def test_the_file_is_kept_until_its_rows_are_committed(file: Path, waiting_runs: list[str]) -> None:
    store = RunStore(session_module.Database(f"sqlite:///{file}", watched=True))
    with locked(file):
        with pytest.raises(StoreError, match="locked"):
            store._outbox.take_in()
        assert len(spooled(file.parent)) == 1
    assert store._outbox.take_in() == 3
    assert [run.status for run in store.get_many(waiting_runs)] == [RunStatus.FINISHED] * 3
    store.close()


@pytest.mark.usefixtures("unhurried")
def test_a_start_on_a_full_disk_reads_what_is_there_and_takes_the_rest_in_later(
    file: Path, waiting_runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def refuse(*_: object, **__: object) -> None:
            raise StoreError("The disk is full.")

        patch.setattr(session_module.Database, "write_result", refuse)
        store = open_store(file)
        assert store.left_behind == (spooled(file.parent)[0], "The disk is full.")
        assert store.page().total == 3
    store.look_around()
    assert store.left_behind is None
    assert [run.status for run in store.get_many(waiting_runs)] == [RunStatus.FINISHED] * 3
    store.close()
