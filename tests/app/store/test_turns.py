"""Many threads of one process that write: none gives up because of the others."""

from __future__ import annotations

import threading

import pytest

from app.store import RunOutcome, RunStatus, RunStore, StoreError
from app.store.database import session as session_module
from tests.support.stores import create


def test_a_result_waits_for_a_sibling_that_writes_for_longer_than_it_would_wait_for_another_process(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "RESULT_BUSY_TIMEOUT_MS", 1_000)
    run_id, writes, done = create(store), threading.Event(), threading.Event()

    def sibling() -> None:
        with store._database.write():
            writes.set()
            done.wait(1.4)

    thread = threading.Thread(target=sibling)
    thread.start()
    assert writes.wait(20)
    try:
        store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "all of it"))
    finally:
        done.set()
        thread.join()
    assert store.get(run_id).text == "all of it"


def test_who_is_in_haste_does_not_wait_for_a_sibling(store: RunStore) -> None:
    run_id = create(store)
    with store._database.write():
        found: list[StoreError] = []

        def save() -> None:
            try:
                store.save_progress(run_id, "half")
            except StoreError as error:
                found.append(error)

        thread = threading.Thread(target=save)
        thread.start()
        thread.join()
    assert "Other results are being written" in str(found[0])


def test_a_write_that_failed_gives_its_turn_back(store: RunStore) -> None:
    with pytest.raises(StoreError), store._database.write():
        raise StoreError("no")
    assert not store._database._turn.locked()
