"""Results that the database cannot take: kept in order, written aside, shown meanwhile, taken in once."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from app.store import (
    ConversationNotFoundError,
    DraftFigures,
    DraftResult,
    RunOutcome,
    RunStatus,
    RunStore,
    StoreError,
    TaskAnswer,
    Timeline,
    TurnTiming,
)
from app.store.database import session as session_module
from app.store.outbox import keeper as keeper_module
from app.store.outbox import spool as spool_module
from app.store.outbox.spool import places
from engine.cascade import TierAnswer
from engine.evaluation import Corpus, DivergenceStats, Window, WindowDivergence
from engine.types import Losslessness, SpeculationConfig
from tests.support.fakes import make_metrics, make_request

REPOSITORY = Path(__file__).parents[3]
FINISHED = RunOutcome(RunStatus.FINISHED, "all of it", finish_reason="stop", metrics=make_metrics())
PATIENCE_S = 60.0
TOKENS = Timeline(
    token_ids=(7, 8), texts=("all", " of it"), t_s=(0.5, 0.75), logprob=(-0.5, -1.0), entropy=(1.0, 0.5),
    source=("target", "draft"), margin=(None, 0.25), tier=(None, None),
)  # fmt: skip
WINDOW = WindowDivergence(
    kld=np.array([0.5], np.float32), delta_p=np.array([0.25], np.float32), same_top=np.array([True]),
    nll_ref=np.array([1.0], np.float32), nll_cand=np.array([1.5], np.float32),
)  # fmt: skip
LOSSLESS = Losslessness(tokens=2, checked=2, near_ties=0, divergence=None)
TIER_ANSWER = TierAnswer(
    text="4", token_ids=(4,), score=1.0, prompt_tokens=3, completion_tokens=1, prefill_s=0.1, ttft_s=0.1, e2e_s=0.2,
    finish_reason="stop", logprobs=(-0.5,), entropies=(0.5,),
)  # fmt: skip


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(session_module, "RESULT_BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(session_module, "HASTY_BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(keeper_module, "LOOK_AROUND_EVERY_S", 3_600.0)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background does nothing by itself."""
    monkeypatch.setattr(keeper_module, "FIRST_RETRY_S", 3_600.0)
    monkeypatch.setattr(keeper_module, "LONGEST_RETRY_S", 3_600.0)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(spool_module, "TEMPORARY", (folder,))
    return folder


@pytest.fixture
def file(tmp_path: Path, temporary: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "gearbox.db"


def open_store(file: Path) -> RunStore:
    return RunStore.open(f"sqlite:///{file}")


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(store: RunStore) -> Iterator[None]:
    """No page more than there is."""

    def limit(pages: int) -> None:
        with store._database.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with store._database.engine.connect() as connection:
        limit(int(connection.exec_driver_sql("PRAGMA page_count").scalar_one()))
    yield
    limit(1_000_000)


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def create(store: RunStore) -> str:
    return store.create_run(make_request(), person_id="s", group_id="g", environment={"host": "h"})


def finish(store: RunStore, run_id: str, text: str = "all of it") -> None:
    """As the run service does it."""
    outcome, timeline = replace(FINISHED, text=text), TOKENS
    try:
        store.finish_run(run_id, outcome, timeline)
    except StoreError as error:
        store.finish_later(run_id, outcome, timeline, str(error))


def spooled(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.waiting-*.jsonl"))


# --- while it waits -------------------------------------------------------------------------------


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


# --- the answers of a chat ------------------------------------------------------------------------


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


# --- every kind of result -------------------------------------------------------------------------

CORPUS = Corpus(name="c", text="Hello")
FIGURES = DraftFigures(
    plain_tpot_s=0.2, drafted_tpot_s=0.1, tokens=5, identical=5, drafted_tokens=4, accepted_tokens=3,
    verification_steps=2, rejections=1,
)  # fmt: skip


class EveryKind:
    """One result of each kind, to be kept and to be found."""

    def __init__(self, store: RunStore) -> None:
        self.run_id = create(store)
        self.chat_id = store.chat.create("T", {})
        self.asked = store.chat.append(self.chat_id, None, "user", "Why?")
        store.lab.keep_corpus(CORPUS)
        self.corpus_result = store.lab.begin_corpus_result(
            model="m", weights_sha256="w", precision="int8", corpus_sha256=CORPUS.sha256, windows=1
        )
        self.task_result = store.lab.begin_task_result(
            model="m", weights_sha256="w", precision="int8", tasks_sha256="t", tasks=1
        )
        store.router.keep_set("s", "set", [])

    def keep(self, store: RunStore) -> None:
        finish(store, self.run_id, "So.")
        store.keep_losslessness(self.run_id, LOSSLESS)
        store.chat.keep_answer(self.chat_id, self.asked, "So.", token_ids=(1,), run_id=self.run_id)
        store.chat.keep_timing(
            self.chat_id,
            self.asked,
            "setting",
            TurnTiming(ttft_s=0.5, prompt_tokens=10, cached_tokens=5, environment={}),
        )
        store.lab.keep_answer("w", CORPUS.sha256, 0, [Window((1, 2, 3), 1)])
        store.lab.keep_window(self.corpus_result, 0, WINDOW)
        store.lab.finish_corpus_result(self.corpus_result, DivergenceStats.from_tokens(WINDOW))
        store.lab.add_speed(
            model="m", weights_sha256="w", precision="int8", tokens_per_second=9.0, ttft_s=0.1, weights_bytes=7,
            environment={}, measurement=self.corpus_result,
        )  # fmt: skip
        store.lab.keep_task_answer(self.task_result, "1", TaskAnswer("4", True))
        store.drafts.keep(
            DraftResult(
                model="m", weights_sha256="w", precision="int8", config_hash="c", prompt_sha256="p",
                speculation=SpeculationConfig(), created_at=datetime.now(UTC), figures=FIGURES, environment={},
            )
        )  # fmt: skip
        store.router.keep_answer("s", "1", "m int8", "w", TIER_ANSWER, {})

    def found(self, store: RunStore) -> list[object]:
        (stats,) = (result.stats for result in store.lab.corpus_results("m"))
        return [
            (run := store.get(self.run_id)).status,
            (run.text, run.losslessness),
            [message.content for message in store.chat.get(self.chat_id).path()],
            list(store.chat.timings(self.chat_id).values()),
            store.lab.answers("w", CORPUS.sha256),
            len(store.lab.windows(self.corpus_result)),
            stats,
            [speed.tokens_per_second for speed in store.lab.speeds("m")],
            store.lab.task_answers(self.task_result),
            [draft.figures for draft in store.drafts.results("m", "int8")],
            len(store.router.answers("s", "m int8", "w")),
        ]


KINDS = 11


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("how", ["delivered", "taken in", "taken in twice"])
def test_every_kind_of_result_waits_and_is_then_there_once(file: Path, store: RunStore, how: str) -> None:
    every = EveryKind(store)
    with locked(file):
        every.keep(store)
        assert store.waiting is not None
        assert store.waiting.results == KINDS
        lines = spooled(file.parent)[0].read_bytes()
        if how != "delivered":
            store.close()
    if how == "delivered":
        store._outbox.deliver()
    else:
        store = open_store(file)
    if how == "taken in twice":
        (file.parent / "gearbox.db.waiting-again.jsonl").write_bytes(lines)
        store.close()
        store = open_store(file)
    assert store.waiting is None
    assert spooled(file.parent) == []
    kept = every.found(store)
    with closing(sqlite3.connect(file)) as other:
        tables = ("runs", "run_timelines", "lab_speeds", "lab_drafts", "lab_task_answers", "router_answers")
        counts = [other.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    assert counts == [1] * len(tables)
    every.keep(store)  # once more, and directly: nothing is there twice
    assert every.found(store) == kept
    assert store.refused is None
    store.close()


def test_an_older_result_that_comes_late_does_not_replace_a_newer_one(file: Path, store: RunStore) -> None:
    every = EveryKind(store)
    with locked(file):
        every.keep(store)
        lines = spooled(file.parent)[0].read_bytes()
    store._outbox.deliver()
    newer = replace(FIGURES, tokens=6)
    draft = store.drafts.results("m", "int8")[0]
    store.drafts.keep(replace(draft, created_at=datetime.now(UTC), figures=newer))
    store.rate(every.run_id, 1)
    (file.parent / "gearbox.db.waiting-old.jsonl").write_bytes(lines)
    store._outbox.take_in()
    assert store.drafts.results("m", "int8")[0].figures == newer
    assert store.get(every.run_id).rating == 1


# --- at the end, and at the next start ------------------------------------------------------------


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


DIE = """
import os, signal, sqlite3, sys
from app.store import RunStore
from app.store.database import session
from tests.support.fakes import make_request
from tests.app.store.test_outbox import finish
session.RESULT_BUSY_TIMEOUT_MS = 20
store = RunStore.open(sys.argv[1])
runs = [store.create_run(make_request(), person_id="s", environment={}) for _ in range(3)]
other = sqlite3.connect(sys.argv[2], isolation_level=None)
other.execute("BEGIN EXCLUSIVE")
for number, run_id in enumerate(runs):
    finish(store, run_id, f"answer {number}")
print(*runs, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a server that was killed with results waiting, and the ids of its runs."""
    file = tmp_path_factory.mktemp("killed") / "gearbox.db"
    died = subprocess.run(
        [sys.executable, "-c", DIE, f"sqlite:///{file}", str(file)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    return file.parent, died.stdout.split()


@pytest.fixture
def waiting_runs(file: Path, killed: tuple[Path, list[str]]) -> list[str]:
    """The runs of a killed server whose results wait beside this database."""
    folder, runs = killed
    shutil.copytree(folder, file.parent, dirs_exist_ok=True)
    return runs


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


# --- where it is written aside --------------------------------------------------------------------


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


# --- a disk that really is full -------------------------------------------------------------------

FULL_DISK = dedent("""
    import resource, sys
    from app.store import RunStore
    from tests.support.fakes import make_request
    from tests.app.store.test_outbox import finish
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
