"""Results that the database cannot take wait in order, are shown meanwhile, and lie in a file."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.store import ConversationNotFoundError, RunStatus, RunStore, StoreError
from app.store.database import session as session_module
from tests.support.fakes import make_metrics
from tests.support.waiting import FINISHED, PATIENCE_S, TOKENS, create, finish, full, locked, open_store, spooled, until


@pytest.mark.usefixtures("unhurried")
def test_a_run_that_cannot_be_written_is_shown_as_it_ended_and_lies_in_a_file(file: Path, store: RunStore) -> None:
    run_id, other = create(store), create(store)
    with locked(file):
        finish(store, run_id)
        assert store.get(run_id).status is RunStatus.FINISHED
        assert store.get(run_id).text == "all of it"
        assert store.get(run_id).metrics == make_metrics()
        assert store.timeline(run_id) == TOKENS
        listed = {run.id: run.status for run in store.page().rows}
        assert listed == {run_id: RunStatus.FINISHED, other: RunStatus.RUNNING}
        waiting = store.waiting
        assert waiting is not None
        assert (waiting.results, waiting.in_memory_only) == (1, 0)
        assert "locked by another process" in waiting.why
        assert list(waiting.aside) == spooled(file.parent)
        shown = store.get(run_id)
    store._outbox.deliver()
    assert store.waiting is None
    assert spooled(file.parent) == []
    assert store.get(run_id) == shown


def test_what_waits_is_written_in_the_background_as_soon_as_the_lock_is_gone(file: Path, store: RunStore) -> None:
    run_id = create(store)
    with locked(file):
        finish(store, run_id)
        time.sleep(0.7)  # a retry in vain
        assert store.waiting
    until(lambda: store.waiting is None)
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT status FROM runs WHERE id = ?", (run_id,)).fetchone() == ("finished",)


@pytest.mark.usefixtures("unhurried")
def test_a_full_disk_keeps_results_waiting_and_frees_them_again(file: Path, store: RunStore) -> None:
    run_id = create(store)
    with full(store):
        finish(store, run_id, "x" * 200_000)
        assert store.waiting
        assert "is full" in store.waiting.why
        assert len(store.get(run_id).text) == 200_000
    store._outbox.deliver()
    assert (store.waiting, len(store.get(run_id).text)) == (None, 200_000)


@pytest.mark.usefixtures("unhurried")
def test_nobody_who_looks_waits_for_a_delivery_that_hangs(
    file: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "RESULT_BUSY_TIMEOUT_MS", 60_000)
    run_id = create(store)
    with locked(file):
        store.finish_later(run_id, FINISHED, None, "locked")
        hanging = threading.Thread(target=store._keeper._delivered)
        hanging.start()
        until(lambda: store._outbox._delivering.acquire(blocking=False) is False)
        assert store.waiting is not None
        assert store.get(run_id).text == "all of it"
        assert hanging.is_alive()
    hanging.join(PATIENCE_S)
    assert store.waiting is None


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("figure", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_loses_no_result_that_waits(file: Path, store: RunStore, figure: float) -> None:
    run_id = create(store)
    outcome = replace(FINISHED, metrics=replace(make_metrics(), tpot_s=figure))
    with locked(file):
        store.finish_later(run_id, outcome, TOKENS, "locked")
        (aside,) = spooled(file.parent)
        kept_aside = aside.read_bytes()
    store._outbox.deliver()
    assert (store.waiting, store.get(run_id).text) == (None, "all of it")
    store.close()
    (file.parent / "gearbox.db.waiting-late.jsonl").write_bytes(kept_aside)
    again = open_store(file)
    assert again.get(run_id).text == "all of it"
    again.close()


@pytest.mark.usefixtures("unhurried")
def test_a_run_deleted_while_its_end_waits_does_not_come_back(file: Path, store: RunStore) -> None:
    run_id = create(store)
    with locked(file):
        finish(store, run_id)
        kept_aside = spooled(file.parent)[0].read_bytes()
    assert store.delete([run_id]) == 1
    assert (store.waiting, store.page().total) == (None, 0)
    store.close()
    (file.parent / "gearbox.db.waiting-late.jsonl").write_bytes(kept_aside)
    again = open_store(file)
    assert again.page().total == 0
    again.close()


@pytest.mark.usefixtures("unhurried")
def test_a_click_that_cannot_be_stored_is_told_at_once(file: Path, store: RunStore) -> None:
    run_id = create(store)
    with locked(file):
        for click in (
            lambda: store.rate(run_id, 1),
            lambda: store.set_tags(run_id, ["a"]),
            lambda: store.set_note(run_id, "n"),
        ):
            with pytest.raises(StoreError, match="locked by another process"):
                click()
        assert store.waiting is None
    finish(store, run_id)
    store.rate(run_id, 1)
    assert (store.get(run_id).rating, store.get(run_id).note) == (1, "")


@pytest.mark.usefixtures("unhurried")
def test_an_answer_that_waits_stands_in_its_conversation_and_the_chat_goes_on_from_it(
    file: Path, store: RunStore
) -> None:
    chat_id = store.chat.create("T", {})
    asked = store.chat.append(chat_id, None, "user", "Why?")
    run_id = create(store)
    with locked(file):
        finish(store, run_id, "So.")
        store.chat.keep_answer(chat_id, asked, "So.", token_ids=(1, 2), run_id=run_id)
        waiting = store.chat.get(chat_id)
        assert [message.content for message in waiting.path()] == ["Why?", "So."]
        with pytest.raises(StoreError, match="locked"):
            store.chat.append(chat_id, waiting.leaf_id, "user", "And?")
    # what builds on an answer that waits writes that one first
    store.chat.append(chat_id, waiting.leaf_id, "user", "And?")
    kept = store.chat.get(chat_id)
    assert [message.content for message in kept.path()] == ["Why?", "So.", "And?"]
    assert (kept.path()[1].id, kept.path()[1].run_id, kept.path()[1].token_ids) == (waiting.leaf_id, run_id, (1, 2))
    assert store.waiting is None


def test_an_answer_to_a_deleted_conversation_is_refused_and_holds_nothing_up(file: Path, store: RunStore) -> None:
    chat_id = store.chat.create("T", {})
    asked = store.chat.append(chat_id, None, "user", "Why?")
    run_id = create(store)
    store.chat.delete(chat_id)
    with pytest.raises(ConversationNotFoundError):
        store.chat.keep_answer(chat_id, asked, "So.", token_ids=(), run_id=run_id)
    assert store.waiting is None
