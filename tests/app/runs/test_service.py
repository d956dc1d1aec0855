import io
import logging
import sqlite3
import subprocess
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.environment import app_environment, git_commit
from app.runs import service as run_service
from app.runs.service import RunCreated, RunNotSaved, RunSaved, RunWaits, UiEvent, stream
from app.store import RunFilter, RunRecord, RunStatus, RunStore, StoreError
from app.store.database import session as session_module
from engine.errors import EngineClosedError, InsufficientMemoryError
from engine.types import (
    GenerationRequest,
    Heartbeat,
    PrefillDone,
    Queued,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
    Started,
    TokenEvent,
)
from tests.support.fakes import FakeEngine, make_request


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save at every event."""
    monkeypatch.setattr(run_service, "SAVE_EVERY_S", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nobody."""
    monkeypatch.setattr(session_module, "BUSY_TIMEOUT_MS", 10)
    monkeypatch.setattr(session_module, "HASTY_BUSY_TIMEOUT_MS", 10)
    monkeypatch.setattr(run_service, "RETRY_AFTER_S", (0.01, 0.01))


def start(engine: FakeEngine, store: RunStore, request: GenerationRequest | None = None) -> Generator[UiEvent]:
    return stream(engine, store, request or make_request(), person_id="s", group_id="g")


def only_run(store: RunStore) -> RunRecord:
    (row,) = store.page().rows
    return store.get(row.id)


def read_until(events: Iterator[UiEvent], kind: type) -> UiEvent:
    return next(event for event in events if isinstance(event, kind))


# --- a run that goes well -------------------------------------------------------------------------


def test_the_events_come_in_order_between_created_and_saved(store: RunStore) -> None:
    engine = FakeEngine(["Be", "cause"], queued=[1])
    events = list(start(engine, store))
    kinds = [type(event).__name__ for event in events]
    answer = ["Queued", "Loading", "Started", "PrefillDone", "TokenEvent", "TokenEvent", "RunFinished"]
    assert kinds == ["RunCreated", *answer, "RunSaved"]
    assert isinstance(events[0], RunCreated)
    assert events[-1] == RunSaved(events[0].run_id, RunStatus.FINISHED)


def test_the_row_is_there_before_the_engine_is_asked(store: RunStore) -> None:
    engine = FakeEngine()
    with closing(start(engine, store)) as events:
        created = next(events)
        assert isinstance(created, RunCreated)
        assert engine.requests == []
        run = store.get(created.run_id)
        assert (run.status, run.person_id, run.group_id) == (RunStatus.RUNNING, "s", "g")


def test_a_finished_run_is_stored_whole(store: RunStore) -> None:
    events = list(start(FakeEngine(["Be", "", "cause"]), store))
    (finished,) = (event for event in events if isinstance(event, RunFinished))
    run = only_run(store)
    assert (run.status, run.text, run.finish_reason) == (RunStatus.FINISHED, "Because", "stop")
    assert run.metrics == finished.metrics
    assert dict(run.environment) == {**app_environment(), **finished.environment}
    timeline = store.timeline(run.id)
    assert timeline is not None
    assert timeline.texts == ("Be", "", "cause")
    assert timeline.token_ids == finished.token_ids


def test_nothing_happens_until_the_first_event_is_asked_for(store: RunStore) -> None:
    engine = FakeEngine()
    events = start(engine, store)
    events.close()
    assert (store.page().total, engine.requests) == (0, [])


def test_an_answer_without_tokens_has_no_timeline(store: RunStore) -> None:
    list(start(FakeEngine([]), store))
    run = only_run(store)
    assert (run.status, run.text, store.timeline(run.id)) == (RunStatus.FINISHED, "", None)


# --- a run that fails -----------------------------------------------------------------------------


def test_a_failed_run_is_stored_with_its_error_and_its_text_so_far(store: RunStore) -> None:
    engine = FakeEngine(["Be", "cause"], failure=InsufficientMemoryError("2 GB are missing."), fail_after=1)
    events = list(start(engine, store))
    run = only_run(store)
    assert events[-2:] == [
        RunFailed("2 GB are missing.", "InsufficientMemoryError"),
        RunSaved(run.id, RunStatus.FAILED),
    ]
    assert (run.status, run.error, run.error_kind) == (RunStatus.FAILED, "2 GB are missing.", "InsufficientMemoryError")
    assert run.text == "Be"
    timeline = store.timeline(run.id)
    assert timeline is not None
    assert timeline.texts == ("Be",)


def test_an_engine_that_refuses_the_request_leaves_a_failed_run(store: RunStore) -> None:
    class Closed(FakeEngine):
        def generate(self, request: GenerationRequest) -> None:
            raise EngineClosedError("The engine is closed.")

    with pytest.raises(EngineClosedError):
        list(start(Closed(), store))
    run = only_run(store)
    assert (run.status, run.error, run.error_kind) == (RunStatus.FAILED, "The engine is closed.", "EngineClosedError")


def test_a_defect_of_the_engine_is_stored_and_raised_and_the_engine_freed(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom(_self: object, _index: int) -> None:
        raise ZeroDivisionError("division by zero")

    engine = FakeEngine(["Be", "cause"])
    monkeypatch.setattr("tests.support.fakes.FakeGeneration._time", boom)
    with pytest.raises(ZeroDivisionError):
        list(start(engine, store))
    assert (only_run(store).status, only_run(store).error_kind) == (RunStatus.FAILED, "ZeroDivisionError")
    assert engine.generations[0].closed


# --- a run that is stopped ------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [Queued, Started, PrefillDone, TokenEvent])
def test_a_run_closed_anywhere_is_stopped_with_its_metrics_and_the_engine_is_free(store: RunStore, seen: type) -> None:
    engine = FakeEngine(["Be", "cause"], queued=[2, 1])
    with closing(start(engine, store)) as events:
        read_until(events, seen)
    run = only_run(store)
    assert (run.status, run.finish_reason) == (RunStatus.STOPPED, "abort")
    assert run.text == ("Be" if seen is TokenEvent else "")
    assert run.metrics is not None
    assert run.metrics.completion_tokens == (seen is TokenEvent)
    assert run.environment["device"] == "cpu"
    assert (store.timeline(run.id) is not None) == (seen is TokenEvent)
    assert not engine.status().running


def test_a_run_closed_as_soon_as_it_was_created_is_stopped(store: RunStore) -> None:
    engine = FakeEngine()
    with closing(start(engine, store)) as events:
        next(events)
    assert (only_run(store).status, only_run(store).finish_reason) == (RunStatus.STOPPED, "abort")
    assert engine.requests == []


def test_a_run_closed_after_its_last_event_is_finished(store: RunStore) -> None:
    with closing(start(FakeEngine(), store)) as events:
        read_until(events, RunFinished)
    assert only_run(store).status is RunStatus.FINISHED


def test_a_run_that_is_dropped_without_being_closed_is_stopped_all_the_same(store: RunStore) -> None:
    events = start(FakeEngine(), store)
    read_until(events, TokenEvent)
    del events
    assert only_run(store).status is RunStatus.STOPPED


def test_an_engine_that_does_not_stop_is_not_waited_for(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_service, "FAREWELL_S", 0.05)
    engine = FakeEngine(["Be", "cause"], gate=threading.Event())
    monkeypatch.setattr("tests.support.fakes.FakeGeneration.cancel", lambda _self: None)
    with closing(start(engine, store)) as events:
        read_until(events, Heartbeat)
    run = only_run(store)
    assert (run.status, run.text, run.metrics) == (RunStatus.STOPPED, "Be", None)
    assert engine.generations[0].closed


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seen=st.integers(0, 12), fails=st.booleans())
def test_however_far_it_was_read_a_run_is_over_and_says_how(store: RunStore, seen: int, fails: bool) -> None:
    store.delete([row.id for row in store.page().rows])
    engine = FakeEngine(["a", "b"], failure=InsufficientMemoryError("No.") if fails else None, fail_after=1)
    with closing(start(engine, store)) as events:
        read = list(islice(events, seen))
    assert store.page().total == (seen > 0)
    if not read:
        return
    run = only_run(store)
    ended = {RunFinished: RunStatus.FINISHED, RunFailed: RunStatus.FAILED}
    expected = next((ended[type(event)] for event in read if type(event) in ended), RunStatus.STOPPED)
    assert run.status is expected
    assert run.text == "".join(event.text for event in read if isinstance(event, TokenEvent))
    assert not engine.status().running


# --- a database in trouble ------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_the_text_so_far_is_saved_while_the_run_goes_on(store: RunStore) -> None:
    engine = FakeEngine(["Be", "cause"], gate=threading.Event())
    with closing(start(engine, store)) as events:
        read_until(events, Heartbeat)
        run = only_run(store)
        timeline = store.timeline(run.id)
        assert (run.status, run.text) == (RunStatus.RUNNING, "Be")
        assert timeline is not None
        assert timeline.texts == ("Be",)


def test_the_text_is_not_saved_at_every_token(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []
    monkeypatch.setattr(store, "save_progress", lambda _run, text, _timeline: saved.append(text))
    list(start(FakeEngine(["x"] * 200), store))
    assert len(saved) < 20


@pytest.mark.usefixtures("impatient")
def test_a_run_that_cannot_be_created_is_not_started(file: Path, store: RunStore) -> None:
    engine = FakeEngine()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            next(start(engine, store))
    assert engine.requests == []


@pytest.mark.usefixtures("impatient", "eager")
def test_a_run_goes_on_though_its_text_so_far_cannot_be_saved(
    file: Path, store: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    engine = FakeEngine(["Be", "cause"])
    with closing(sqlite3.connect(file, isolation_level=None)) as other, caplog.at_level(logging.WARNING):
        events = start(engine, store)
        next(events)
        other.execute("BEGIN IMMEDIATE")
        read_until(events, RunFinished)
        other.execute("ROLLBACK")
        saved = next(events)
    assert isinstance(saved, RunSaved)
    assert only_run(store).text == "Because"
    assert len([record for record in caplog.records if "could not be saved" in record.message]) == 1


@pytest.mark.usefixtures("impatient")
def test_a_run_whose_end_cannot_be_saved_is_shown_as_it_ended_and_saved_later(file: Path, store: RunStore) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        events = start(FakeEngine(["Be", "cause"]), store)
        next(events)
        other.execute("BEGIN EXCLUSIVE")
        *_, finished, last = events
        assert isinstance(finished, RunFinished)
        assert finished.text == "Because"
        assert isinstance(last, RunWaits)
        assert "locked by another process" in last.why
        shown = only_run(store)
        assert (shown.status, shown.text) == (RunStatus.FINISHED, "Because")
        assert store.waiting is not None
        other.execute("ROLLBACK")

    list(start(FakeEngine(["Next"]), store))  # what waits is written before a run that follows
    assert store.waiting is None
    kept = {run.text: run for run in store.get_many([row.id for row in store.page().rows])}
    assert kept["Because"].status is RunStatus.FINISHED
    assert kept["Because"].metrics is not None
    assert kept["Because"] == shown


def test_a_short_lock_at_the_end_is_waited_out(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_service, "RETRY_AFTER_S", (0.01, 0.01))
    really_finish = store.finish_run
    failures = [StoreError("locked"), StoreError("locked")]

    def finish_run(*args: object) -> None:
        if failures:
            raise failures.pop()
        really_finish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "finish_run", finish_run)
    *_, last = start(FakeEngine(), store)
    assert isinstance(last, RunSaved)
    assert only_run(store).status is RunStatus.FINISHED


def test_a_run_deleted_meanwhile_is_reported_at_once_and_does_not_come_back(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_finish = store.finish_run
    attempts: list[tuple[object, ...]] = []

    def finish_run(*args: object) -> None:
        attempts.append(args)
        really_finish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "finish_run", finish_run)
    events = start(FakeEngine(), store)
    created = next(events)
    assert isinstance(created, RunCreated)
    store.delete([created.run_id])
    *_, last = events
    assert isinstance(last, RunNotSaved)
    assert "deleted" in last.error
    assert (store.page().total, len(attempts)) == (0, 1)


@pytest.mark.usefixtures("impatient")
def test_a_stopped_run_that_cannot_be_saved_does_not_disturb_the_page(
    file: Path, store: RunStore, caplog: pytest.LogCaptureFixture
) -> None:
    engine = FakeEngine()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        events = start(engine, store)
        read_until(events, TokenEvent)
        other.execute("BEGIN IMMEDIATE")
        events.close()
    assert "locked by another process" in caplog.text
    assert not engine.status().running


# --- the environment ------------------------------------------------------------------------------


def test_the_commit_is_named_and_changed_files_are_told(tmp_path: Path) -> None:
    assert git_commit(tmp_path / "nowhere") is None
    (tmp_path / "file").write_text("one")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "file")
    git(tmp_path, "-c", "user.name=n", "-c", "user.email=e", "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    git_commit.cache_clear()
    assert git_commit(tmp_path) == f"{commit}-dirty"


def git(folder: Path, *command: str) -> str:
    return subprocess.run(["git", "-C", folder, *command], capture_output=True, text=True, check=True).stdout.strip()


def test_half_characters_are_the_same_text_for_the_engine_the_store_and_every_export(store: RunStore) -> None:
    half, whole = "half \ud83d nul \0", "half \ufffd nul \ufffd"
    engine = FakeEngine()
    request = make_request(half, model=half, system=half, sampling=SamplingParams(stop=(half,)))
    with closing(start(engine, store, request)) as events:
        run_id = next(event.run_id for event in events if isinstance(event, RunCreated))
        for _ in events:
            pass
    record = store.get(run_id)
    asked = engine.requests[0]
    assert (asked.prompt, asked.config.model, asked.config.sampling.stop) == (whole, whole, (whole,))
    assert (record.prompt, record.messages, record.model) == (whole, asked.messages, whole)
    assert record.config_hash == asked.config.hash == RunConfig.from_dict(record.config).hash
    for export in (store.export_csv, store.export_jsonl):
        written = io.StringIO()
        assert export(RunFilter(text="half \ufffd"), written) == 1
        assert whole in written.getvalue()
        assert written.getvalue().encode()
