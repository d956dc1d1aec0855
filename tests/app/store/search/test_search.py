"""What a search finds, whether its index knows a run or not: the same as reading every run."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.store import RunFilter, RunOutcome, RunStatus, RunStore
from app.store.runs import reading
from app.store.runs.search import sqlite
from app.store.runs.search.needles import pieces
from tests.support.fakes import make_request
from tests.support.searching import found, index_all, keep


@pytest.mark.parametrize(
    "needle",
    [
        "handle_request",
        "dle_req",
        "HANDLE",
        "handle_request(x)",
        '"quoted" AND',
        "run_search MATCH",
        "50 %",
        "a*",
        "为什么天",
        "(x",
        "为什",
    ],
)
def test_what_stands_in_an_answer_is_found_as_it_is_written(store: RunStore, needle: str) -> None:
    run_id = keep(store, 'def handle_request(x): "quoted" AND run_search MATCH 50 % a* NEAR( 为什么天空是蓝色的')
    keep(store, "def han d le_requ est: another 50%")
    for _ in ("not indexed", "indexed"):
        assert found(store, needle) == {run_id}
        index_all(store)
    assert store.totals(RunFilter(text=needle)).runs == 1


def test_a_percent_sign_and_a_line_stand_for_themselves(store: RunStore) -> None:
    keep(store, "fifty percent")
    index_all(store)
    assert found(store, "fif%ent") == found(store, "fifty_percent") == set()


def test_notes_errors_and_prompts_are_found(store: RunStore) -> None:
    noted, failed, asked = keep(store, "x"), keep(store, "x"), keep(store, "x", prompt="What is a quokka?")
    store.set_note(noted, "shows a quokka")
    store.finish_run(failed, RunOutcome(RunStatus.FAILED, "", error="no quokka"))
    index_all(store)
    assert found(store, "quokka") == {noted, failed, asked}
    store.set_note(noted, "")
    assert found(store, "quokka") == {failed, asked}


def test_a_common_text_is_not_counted_to_the_end(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        keep(store, f"the answer {number}")
    index_all(store)
    whole = store.page(RunFilter(text="answer"), limit=2)
    assert (whole.total, whole.more) == (6, False)
    monkeypatch.setattr(reading, "MOST_NARROWED", 3)
    monkeypatch.setattr(reading, "MOST_COUNTED", 4)
    page = store.page(RunFilter(text="answer"), limit=2)
    assert (len(page.rows), page.total, page.more) == (2, 4, True)
    assert len(store.page(RunFilter(text="answer"), limit=100).rows) == 6


def test_a_text_too_short_for_the_index_is_looked_for_among_the_newest_runs(store: RunStore) -> None:
    ids = [keep(store, f"answer {number} ab") for number in range(6)]
    group = store.create_run(make_request("ab"), person_id="s", environment={}, group_id="g")
    page = store.page(RunFilter(text=" ab "), looked_back=3)
    assert [run.id for run in page.rows] == [group, *reversed(ids[4:])]
    assert page.total == 3
    assert page.searched_since is not None
    assert page.searched_since <= store.get(ids[4]).created_at
    assert store.page(RunFilter(text="ab"), looked_back=7).searched_since is None
    assert store.page(RunFilter(text="answer"), looked_back=3).total == 6
    older = store.page(RunFilter(text="ab", until=page.searched_since), looked_back=2)
    assert [run.id for run in older.rows] == [ids[3], ids[2]]
    for _ in range(4):
        keep(store, "newer")
    assert store.page(RunFilter(text="ab", group_id="g"), looked_back=3).total == 1
    assert store.totals(RunFilter(text="ab")).runs == 7, "figures are of all"


def test_pieces_of_a_text_are_few_and_all_in_it() -> None:
    assert pieces("ab") == ()
    assert pieces("abcd") == ("abc", "bcd")
    long = "".join(chr(0x4E00 + number) for number in range(500))
    assert len(pieces(long)) <= 24
    assert all(piece in long for piece in pieces(long))


# --- SQLite's index --------------------------------------------------------------------------------------


def objects(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def test_the_index_of_an_older_database_is_filled_in_the_background(store: RunStore, file: Path) -> None:
    ids = {keep(store, "an old answer") for _ in range(3)}
    with closing(sqlite3.connect(file)) as connection:
        for trigger in ("run_search_begun", "run_search_changed", "run_search_gone"):
            connection.execute(f"DROP TRIGGER {trigger}")
        for table in ("run_search", "run_search_pending", "run_search_index"):
            connection.execute(f"DROP TABLE {table}")
    store.texts.prepare()
    assert store.texts.waiting() == 3
    assert found(store, "old answer") == ids
    assert store.texts.add_some() is False
    assert store.texts.waiting() == 0
    assert found(store, "old answer") == ids


def test_an_index_without_one_of_its_triggers_is_made_anew(store: RunStore, file: Path) -> None:
    keep(store, "first")
    index_all(store)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TRIGGER run_search_gone")
    store.texts.prepare()
    assert "run_search_gone" in objects(file)
    assert store.texts.waiting() == 1


def test_running_runs_are_found_and_not_indexed(store: RunStore, file: Path) -> None:
    run_id = store.create_run(make_request("a long question"), person_id="s", environment={})
    store.save_progress(run_id, "half of it")
    index_all(store)
    assert store.texts.waiting() == 1
    assert found(store, "half of") == {run_id}


def test_a_sqlite_without_the_tokenizer_is_told_of_and_searched_all_the_same(
    store: RunStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_FIRST_WITH_TRIGRAMS", (99, 0, 0))
    store.texts.prepare()
    run_id = keep(store, "an answer")
    assert store.texts.trouble is not None
    assert found(store, "answer") == {run_id}
    assert store.texts.add_some() is False
