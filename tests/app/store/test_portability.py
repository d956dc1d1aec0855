"""Every statement that the store sends must also compile for PostgreSQL."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

from app.store import RunFilter, RunOutcome, RunSort, RunSource, RunStatus, RunStore, SortColumn, Timeline
from app.store.database.migrate import MIGRATIONS
from tests.support.fakes import make_metrics, make_request

PAST = datetime(2020, 1, 1, tzinfo=UTC)
EVERY_FILTER = RunFilter(
    text="x_%",
    models=("smollm2-135m",),
    backends=("local",),
    precisions=("bf16",),
    config_hashes=("x",),
    statuses=(RunStatus.FINISHED,),
    ratings=(0,),
    tags=("a", "b"),
    sources=(None, RunSource.CHAT),
    key_names=(None, "k"),
    finish_reasons=("stop",),
    error_kinds=("x",),
    tiers=("x",),
    group_id="g",
    person_id="s",
    since=PAST,
    until=PAST + timedelta(days=9_999),
)
ONE_TOKEN = Timeline(
    token_ids=(1,), texts=("x",), t_s=(0.1,), logprob=(-1.0,), entropy=(1.0,), source=("target",), tier=(None,)
)


@pytest.fixture
def sent() -> Iterator[list[ClauseElement]]:
    """Every statement that any engine sends meanwhile."""
    statements: list[ClauseElement] = []

    def note(_connection: object, statement: ClauseElement, *_rest: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_execute", note)
    yield statements
    event.remove(Engine, "before_execute", note)


def test_every_statement_compiles_for_postgresql(tmp_path: Path, sent: list[ClauseElement]) -> None:
    store = RunStore.open(f"sqlite:///{tmp_path / 'gearbox.db'}")
    sent.clear()
    use_everything(store)
    store.close()
    # "insert or update" has a form for each database, which is chosen as it is sent: see test_postgres.py
    portable = [statement for statement in sent if not isinstance(statement, sqlite.Insert)]
    compiled = {str(statement.compile(dialect=postgresql.dialect())) for statement in portable}
    kinds = {text.split()[0] for text in compiled}
    assert kinds == {"SELECT", "WITH", "INSERT", "UPDATE", "DELETE"}
    assert any("ILIKE" in text for text in compiled)
    assert any("cume_dist() OVER (PARTITION BY" in text for text in compiled)
    assert any("NULLS LAST" in text for text in compiled)


def use_everything(store: RunStore) -> None:
    request = make_request()
    run_id, other = (store.create_run(request, person_id="s", group_id="g", environment={}) for _ in range(2))
    store.save_progress(run_id, "x", ONE_TOKEN)
    store.save_progress(run_id, "xy", ONE_TOKEN)
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, "x", metrics=make_metrics()), ONE_TOKEN)
    store.set_tags(run_id, ["a", "b"])
    store.set_note(run_id, "n")
    store.rate(run_id, 1)
    store.get_many([run_id, other])
    store.timeline(run_id)
    store.facets()
    for column in get_args(SortColumn):
        store.page(EVERY_FILTER, RunSort(column), offset=1)
        store.page(sort=RunSort(column, descending=False), limit=1)
    for filter in (EVERY_FILTER, RunFilter()):
        store.totals(filter)
        store.latency(filter)
        store.over_time(filter, timedelta(hours=1))
        store.by_configuration(filter, limit=1)
        store.cascades(store.overview(filter, [PAST, PAST + timedelta(days=9_999)]).by_configuration)
        store.stretch_of_all()
        store.export_csv(filter, io.StringIO())
        store.export_jsonl(filter, io.StringIO())
    chat_id = store.chat.create("T", request.config.to_dict())
    asked = store.chat.append(chat_id, None, "user", "x")
    store.chat.append(chat_id, asked, "assistant", "y", token_ids=(1,), run_id=run_id)
    store.chat.set_leaf(chat_id, asked)
    store.chat.rename(chat_id, "U")
    store.chat.configure(chat_id, request.config.to_dict(), "s")
    store.chat.get(chat_id)
    store.chat.conversations()
    store.chat.conversations("x_%", limit=1, offset=1)
    store.chat.count("x_%")
    store.chat.state_of(chat_id)
    store.chat.delete(chat_id)
    store._mark_interrupted()
    store.delete([run_id, other])


def test_the_migrations_can_be_written_out_for_postgresql() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    out = io.StringIO()
    with EnvironmentContext(config, script, fn=lambda revision, _: script._upgrade_revs("head", revision)) as context:
        context.configure(dialect_name="postgresql", opts={"as_sql": True}, output_buffer=out, as_sql=True)
        context.run_migrations()
    sql = out.getvalue()
    for table in ("runs", "run_contents", "run_timelines", "run_tags"):
        assert f"CREATE TABLE {table} (" in sql
    assert "payload BYTEA NOT NULL" in sql
    assert "ON DELETE CASCADE" in sql
