"""Where runs were asked for: kept with them whatever happens, told of older runs where it can be, filtered by."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.store import WITHOUT_LABS, RunFilter, RunOutcome, RunSource, RunStatus, RunStore
from app.store.database import session as session_module
from app.store.outbox import keeper as keeper_module
from tests.support.fakes import make_metrics, make_request
from tests.support.migrations import migrate_until
from tests.support.ui import add_run

EVERY_SOURCE = (None, *RunSource)


def one_of_each(store: RunStore) -> dict[RunSource | None, str]:
    return {source: add_run(store, source=source) for source in EVERY_SOURCE}


def found(store: RunStore, *sources: RunSource | None) -> set[RunSource | None]:
    return {run.source for run in store.page(RunFilter(sources=sources)).rows}


def test_a_run_keeps_its_source_and_one_that_nobody_told_has_none(store: RunStore) -> None:
    for source, run_id in one_of_each(store).items():
        assert store.get(run_id).source is source
    assert store.facets().sources == tuple(RunSource)
    assert store.get(store.create_run(make_request(), person_id="s", environment={})).source is None


@pytest.fixture
def filled(store: RunStore) -> RunStore:
    """With a run of every source."""
    one_of_each(store)
    return store


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # no example writes
@given(wanted=st.sets(st.sampled_from(EVERY_SOURCE), min_size=1))
def test_a_filter_lets_through_the_sources_it_names_and_no_other(
    filled: RunStore, wanted: set[RunSource | None]
) -> None:
    assert found(filled, *wanted) == wanted
    assert filled.totals(RunFilter(sources=tuple(wanted))).runs == len(wanted)


def test_without_labs_and_experiments_means_all_others_those_that_nobody_knows_among_them(store: RunStore) -> None:
    one_of_each(store)
    assert found(store, *WITHOUT_LABS) == {*EVERY_SOURCE} - {RunSource.LAB, RunSource.EXPERIMENT, RunSource.SENTINEL}
    assert found(store) == {*EVERY_SOURCE}


def test_the_labs_runs_count_into_no_speed_that_is_expected(store: RunStore) -> None:
    for tpot_s in (0.04, 0.04, 0.13, 0.13, 0.13):
        source = RunSource.LAB if tpot_s > 0.1 else RunSource.PLAYGROUND
        add_run(store, metrics=make_metrics(tpot_s=tpot_s), source=source)
    speed = store.recent_speeds("smollm2-135m")["bf16"]
    assert (speed.runs, speed.tpot_s) == (2, pytest.approx(0.04))


def test_a_labs_run_is_no_repeat_of_another(store: RunStore) -> None:
    add_run(store, metrics=make_metrics(tpot_s=0.04))
    add_run(store, metrics=make_metrics(tpot_s=0.13), source=RunSource.LAB)
    assert store.repeats(store.host)["tpot_s"].degrees == 0
    add_run(store, metrics=make_metrics(tpot_s=0.13), source=RunSource.LAB)
    assert store.repeats(store.host)["tpot_s"].degrees == 1


def test_exports_tell_it(store: RunStore) -> None:
    add_run(store, source=RunSource.CHAT)
    rows, lines = io.StringIO(), io.StringIO()
    store.export_csv(RunFilter(), rows)
    store.export_jsonl(RunFilter(), lines)
    assert [row["source"] for row in csv.DictReader(io.StringIO(rows.getvalue()))] == ["chat"]
    assert json.loads(lines.getvalue())["source"] == "chat"
    store.export_csv(RunFilter(sources=WITHOUT_LABS), lab_free := io.StringIO())
    assert len(lab_free.getvalue().splitlines()) == 2


def test_a_run_whose_end_waits_keeps_it_into_a_new_database(
    monkeypatch: pytest.MonkeyPatch, store: RunStore, file: Path
) -> None:
    monkeypatch.setattr(session_module, "RESULT_BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(keeper_module, "FIRST_RETRY_S", 3_600.0)
    run_id = store.create_run(make_request(), person_id="s", environment={}, source=RunSource.LAB)
    file.unlink()
    outcome = RunOutcome(RunStatus.FINISHED, "all of it", finish_reason="stop", metrics=make_metrics())
    store.finish_later(run_id, outcome, None, "It is gone.")
    assert store.get_many([run_id])[0].source is RunSource.LAB
    store.open_what_is_there()
    assert store.waiting is None
    assert store.get(run_id).source is RunSource.LAB


# --- runs stored before it was kept -----------------------------------------------------------------

RUN = (
    "INSERT INTO runs (id, created_at, status, group_id, session_id, model, backend, precision, config_hash, seed, "
    "rating, note, owner_host, owner_pid, owner_started, seen_at) VALUES (?, 1, 'finished', ?, '', 'm', 'local', "
    "'bf16', 'h', 0, 1, 'good', 'host', 1, 1.0, 1)"
)
TEXTS = (
    "INSERT INTO run_contents (run_id, prompt, text, messages, config, environment) "
    "VALUES (?, 'Hi', 'Hello', '[]', '{}', '{}')"
)
MESSAGE = (
    "INSERT INTO conversation_messages (id, conversation_id, parent_id, position, role, content, token_ids, run_id, "
    "created_at) VALUES (?, 'talk', ?, ?, ?, '', x'', ?, 1)"
)


def test_older_runs_get_the_source_that_can_be_told_of_them_and_lose_nothing(file: Path, tmp_path: Path) -> None:
    migrate_until(file, "0013", tmp_path / "migrations")
    asked, deleted = "0199a0000000" + "0" * 20, "0199b0000000" + "0" * 20
    groups = {
        "race": uuid.uuid4().hex,
        "answer": asked,
        "failed answer": asked,
        "ungrouped answer": None,
        "lab": None,
        "deleted conversation's": deleted,
    }
    with closing(sqlite3.connect(file)) as connection, connection:
        for run_id, group_id in groups.items():
            connection.execute(RUN, (run_id, group_id))
            connection.execute(TEXTS, (run_id,))
        connection.execute(
            "INSERT INTO conversations (id, title, created_at, updated_at, config, system) "
            "VALUES ('talk', '', 1, 1, '{}', '')"
        )
        connection.execute(MESSAGE, (asked, None, 0, "user", None))
        connection.execute(MESSAGE, ("said", asked, 1, "assistant", "answer"))
        connection.execute(MESSAGE, ("said before", asked, 2, "assistant", "ungrouped answer"))
    store = RunStore.open(f"sqlite:///{file}")
    runs = {run_id: store.get(run_id) for run_id in groups}
    assert {run_id: run.source for run_id, run in runs.items()} == {
        "race": RunSource.PLAYGROUND,
        "answer": RunSource.CHAT,
        "failed answer": RunSource.CHAT,
        "ungrouped answer": RunSource.CHAT,
        "lab": RunSource.LAB,
        "deleted conversation's": None,
    }
    assert {(run.group_id, run.text, run.note, run.rating) for run in runs.values()} == {
        (group_id, "Hello", "good", 1) for group_id in groups.values()
    }
    store.close()
