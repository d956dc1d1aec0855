import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from filelock import FileLock
from sqlalchemy import Engine, event

from app.store import RunStore, StoreError
from app.store.database import migrate as migrate_module
from app.store.database.columns import Base
from app.store.database.migrate import MIGRATIONS, migrate
from app.store.database.packing import pack
from app.store.database.session import Database
from tests.support.cascade import answer
from tests.support.fakes import make_request

REPOSITORY = Path(__file__).parents[3]
HEAD = "0037"
REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down_revision!r}


def upgrade():
{body}
"""


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


def tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A copy of the migrations, to which a test can add."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for file in (MIGRATIONS / "env.py", *(MIGRATIONS / "versions").glob("*.py")):
        (folder / file.relative_to(MIGRATIONS)).write_text(file.read_text())
    return folder


def add_revision(migrations: Path, name: str, after: str, *statements: str) -> None:
    body = "\n".join(f"    {statement}" for statement in statements)
    (migrations / "versions" / f"{name}.py").write_text(REVISION.format(revision=name, down_revision=after, body=body))


def test_a_new_database_gets_its_folder_its_tables_and_a_write_ahead_log(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "gearbox.db"
    RunStore.open(url_of(file)).close()
    made = {
        name for name in tables(file) if not name.startswith(("run_search", "sqlite_"))
    }  # derived, and no part of the schema
    assert made == {*Base.metadata.tables, "alembic_version"}
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "gearbox.db"
    RunStore.open(url_of(file)).close()
    before = revision(file)
    RunStore.open(url_of(file)).close()
    assert revision(file) == before


def test_tables_and_models_do_not_drift_apart(tmp_path: Path) -> None:
    url = url_of(tmp_path / "gearbox.db")
    migrate(url)
    database = Database(url)
    with database.migration() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    database.close()


def test_an_upgrade_keeps_what_is_there(tmp_path: Path, migrations: Path) -> None:
    file = tmp_path / "gearbox.db"
    store = RunStore.open(url_of(file))
    run_id = store.create_run(make_request(), person_id="s", environment={})
    kept = store.get(run_id)
    # Rebuilding a table drops the old one: with foreign keys on, that would take the texts along.
    add_revision(
        migrations,
        "next",
        HEAD,
        "with op.batch_alter_table('runs', recreate='always') as table:",
        "    table.add_column(sa.Column('extra', sa.Integer()))",
    )
    migrate(url_of(file), migrations=migrations)
    assert revision(file) == "next"
    assert store.get(run_id) == kept
    store.close()


def test_a_database_of_the_first_release_gets_the_later_tables_and_keeps_its_runs(
    tmp_path: Path, migrations: Path
) -> None:
    file = tmp_path / "gearbox.db"
    for later in (migrations / "versions").glob("*.py"):
        if not later.name.startswith("0001"):
            later.unlink()
    migrate(url_of(file), migrations=migrations)
    assert not {name for name in tables(file) if name.startswith("lab_")}
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "INSERT INTO runs (id, created_at, status, session_id, model, backend, precision, config_hash, seed, "
            "rating, note, owner_host, owner_pid, owner_started, seen_at) VALUES ('kept', 1, 'finished', 's', 'm', "
            "'local', 'bf16', 'h', 0, 1, 'good', 'host', 1, 1.0, 1)"
        )
        connection.execute(
            "INSERT INTO run_contents (run_id, prompt, text, messages, config, environment) "
            "VALUES ('kept', 'Hi', 'Hello', '[]', '{}', '{}')"
        )
    store = RunStore.open(url_of(file))
    kept = store.get("kept")
    assert (kept.text, kept.note, kept.cache, kept.speculation, kept.losslessness, kept.disturbance) == (
        "Hello",
        "good",
        None,
        None,
        None,
        None,
    )
    # nobody's, and so everybody's; by which session it was asked is not lost
    assert (kept.person_id, kept.session_id) == (None, "s")
    assert store.lab.corpus_results() == ()
    assert store.experiments.all() == ()
    assert revision(file) == HEAD
    store.close()


def test_answers_recorded_before_anybody_was_noted_are_kept_and_nobodys(tmp_path: Path, migrations: Path) -> None:
    file = tmp_path / "gearbox.db"
    for later in (migrations / "versions").glob("*.py"):
        if later.name[:4] > "0012":
            later.unlink()
    migrate(url_of(file), migrations=migrations)
    tree, given = {"id": "t0", "category": "c", "prompt": "?", "max_tokens": 8}, answer()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO router_sets VALUES ('s', 'Sums', 1, ?)", (pack([tree]),))
        connection.execute(
            "INSERT INTO router_answers (set_sha256, tier, weights_sha256, prompt_id, created_at, payload, "
            "environment) VALUES ('s', 'small@int8', 'w', 't0', 1, ?, '{\"cpu\":\"x\"}')",
            (pack(given.to_dict()),),
        )
    store = RunStore.open(url_of(file))
    assert store.router.answers("s", "small@int8", "w") == {"t0": given}
    (tier,) = store.router.recorded("s")
    assert (tier.answers, tier.own, tier.others, tier.machines, tier.to_renew) == (1, 0, 0, ("x",), 0)
    assert store.router.marks("s") == ()
    store.close()


def test_a_failed_upgrade_leaves_everything_as_it_was(tmp_path: Path, migrations: Path) -> None:
    file = tmp_path / "gearbox.db"
    store = RunStore.open(url_of(file))
    run_id = store.create_run(make_request(), person_id="s", environment={})
    before = tables(file)
    add_revision(migrations, "half", HEAD, "op.create_table('half', sa.Column('id', sa.Integer()))")
    add_revision(migrations, "broken", "half", "op.drop_table('run_tags')", "op.execute('SELECT * FROM nowhere')")
    with pytest.raises(StoreError, match="no such table: nowhere"):
        migrate(url_of(file), migrations=migrations)
    assert tables(file) == before
    assert revision(file) == HEAD
    assert store.get(run_id).id == run_id
    store.close()


def test_a_failed_first_migration_leaves_no_tables(tmp_path: Path, migrations: Path) -> None:
    file = tmp_path / "gearbox.db"
    add_revision(migrations, "broken", HEAD, "op.execute('SELECT * FROM nowhere')")
    with pytest.raises(StoreError, match="nowhere"):
        migrate(url_of(file), migrations=migrations)
    assert tables(file) == set()
    migrate(url_of(file))
    assert "runs" in tables(file)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path, migrations: Path) -> None:
    file = tmp_path / "gearbox.db"
    add_revision(migrations, "future", HEAD, "op.create_table('future', sa.Column('id', sa.Integer()))")
    migrate(url_of(file), migrations=migrations)
    with pytest.raises(StoreError, match="newer version of Gearbox"):
        RunStore.open(url_of(file))
    assert "future" in tables(file)


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE runs (mine INTEGER)")
        connection.commit()
    with pytest.raises(StoreError, match="runs already exists"):
        RunStore.open(url_of(file))
    assert tables(file) == {"runs"}


# --- killed in the midst of it ----------------------------------------------------------------------

EARLIER = [None, *sorted(name for path in MIGRATIONS.glob("versions/0*.py") if (name := path.name[:4]) < HEAD)]
"""Where a database may stand before: none at all, or any version before this one."""
RUN = (
    "INSERT INTO runs (id, created_at, status, session_id, model, backend, precision, config_hash, seed, rating, note, "
    "owner_host, owner_pid, owner_started, seen_at) VALUES ('kept', 1, 'finished', 's', 'm', 'local', 'bf16', 'h', 0, "
    "1, 'good', 'host', 1, 1.0, 1)"
)
TEXTS = (
    "INSERT INTO run_contents (run_id, prompt, text, messages, config, environment) "
    "VALUES ('kept', 'Hi', 'Hello', '[]', '{}', '{}')"
)
SPEED = (
    "INSERT INTO lab_speeds (id, model, weights_sha256, precision, created_at, tokens_per_second, ttft_s, "
    "weights_bytes, environment) VALUES (?, 'm', 'w', 'int8', ?, 9.5, 0.5, 7, '{}')"
)


def database_of(version: str | None, file: Path, migrations: Path) -> None:
    """A database as a version left it, with a run in it and, where there are labs, a speed that is there twice."""
    if version is None:
        return
    for later in (migrations / "versions").glob("*.py"):
        if later.name[:4] > version:
            later.unlink()
    migrate(url_of(file), migrations=migrations)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(RUN)
        connection.execute(TEXTS)
        if version >= "0002":
            connection.executemany(SPEED, [("first", 1), ("second", 2)])
        if version >= "0009":
            connection.execute("UPDATE lab_speeds SET measurement = id")


def migrate_and_die(url: str, after: int) -> int:
    """Migrate in a process of its own that is killed after so many statements; 0 if it came to its end before."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    try:
        sent = 0

        def count(*_: object) -> None:
            nonlocal sent
            sent += 1
            if sent == after:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "after_cursor_execute", count)
        migrate(url)
    except BaseException:  # noqa: BLE001 - the child must never get back into the tests
        os._exit(1)
    os._exit(0)


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize(
    "version",
    [
        pytest.param(version, marks=pytest.mark.slow if version in (None, EARLIER[-1]) else pytest.mark.full)
        for version in EARLIER
    ],
)
def test_a_start_killed_after_any_statement_of_migrating_is_made_good_by_the_next_one(
    tmp_path: Path, migrations: Path, version: str | None
) -> None:
    assert kill_at_each(tmp_path, migrations, version, step=1) > 10


@pytest.mark.parametrize("version", [None, EARLIER[-1]])
def test_a_start_killed_after_some_statement_of_migrating_is_made_good_by_the_next_one(
    tmp_path: Path, migrations: Path, version: str | None
) -> None:
    assert kill_at_each(tmp_path, migrations, version, step=9 if version is None else 3) > 10


def kill_at_each(tmp_path: Path, migrations: Path, version: str | None, *, step: int) -> int:
    """Kill after every so many statements, and look what the next start makes of it; how many statements there are."""
    file, before = tmp_path / "gearbox.db", tmp_path / "before.db"
    database_of(version, before, migrations)
    after = 1
    while True:
        for old in tmp_path.glob(f"{file.name}*"):
            old.unlink()
        if before.exists():
            shutil.copy(before, file)
        ended = migrate_and_die(url_of(file), after)
        assert ended in (0, -signal.SIGKILL)
        migrate(url_of(file))
        assert revision(file) == HEAD
        assert tables(file) == {*Base.metadata.tables, "alembic_version"}
        check_what_was_kept(file, version)
        if ended == 0:
            return after
        after += step


def check_what_was_kept(file: Path, version: str | None) -> None:
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        runs = connection.execute("SELECT id, note, rating FROM runs").fetchall()
        texts = connection.execute("SELECT run_id, text FROM run_contents").fetchall()
        speeds = connection.execute("SELECT id, measurement FROM lab_speeds ORDER BY id").fetchall()
    if version is None:
        assert (runs, texts, speeds) == ([], [], [])
    else:
        assert (runs, texts) == ([("kept", "good", 1)], [("kept", "Hello")])
        # a measurement's name came with 0009: each speed of an older version got its own
        assert speeds == ([("first", "first"), ("second", "second")] if version >= "0002" else [])


# --- several starts at once -------------------------------------------------------------------------


def _open_at_once(url: str, barrier: "multiprocessing.synchronize.Barrier", failures: "multiprocessing.Queue") -> None:
    try:
        barrier.wait(timeout=60)
        RunStore.open(url).close()
    except Exception as error:  # noqa: BLE001 - whatever it is must reach the test
        failures.put(repr(error))


def test_starts_at_once_on_a_new_database_all_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a page test leaves the app's entry behind as the main module, which each new process would run
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    context = multiprocessing.get_context("spawn")
    barrier, failures = context.Barrier(3), context.Queue()
    file = tmp_path / "new" / "gearbox.db"
    processes = [context.Process(target=_open_at_once, args=(url_of(file), barrier, failures)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=90)
    assert failures.empty(), failures.get()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert revision(file) == HEAD


def test_a_start_waits_while_another_process_migrates(tmp_path: Path) -> None:
    file = tmp_path / "gearbox.db"
    code = (
        f"from app.store import RunStore; print('opening', flush=True); RunStore.open({url_of(file)!r}); print('open')"
    )
    with FileLock(f"{file}.lock"):
        waiting = subprocess.Popen(
            [sys.executable, "-c", code, url_of(file)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "opening\n"
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=0.5)
        assert not file.exists()
    out, _ = waiting.communicate(timeout=60)
    assert (out, waiting.returncode) == ("open\n", 0)
    assert revision(file) == HEAD


def test_a_start_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate_module, "LOCK_TIMEOUT_S", 0.1)
    file = tmp_path / "gearbox.db"
    with FileLock(f"{file}.lock"), pytest.raises(StoreError, match="Another process has been preparing"):
        RunStore.open(url_of(file))
