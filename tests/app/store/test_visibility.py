"""Who sees what: whatever is asked of the store, nobody else's text comes back, and figures are everybody's."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store import (
    NEWEST_FIRST,
    ConversationOfAnotherError,
    RunFilter,
    RunNotFoundError,
    RunOfAnotherError,
    RunOutcome,
    RunSort,
    RunStatus,
    RunStore,
    Viewer,
)
from app.store.runs.endings import ENDING
from tests.support.fakes import make_request
from tests.support.ui import add_run

ANN, BOB = "a" * 32, "b" * 32
OWNERS = {"ann": ANN, "bob": BOB, "desk": None}
CONFIG: dict[str, Any] = {"model": "m"}


class Desk:
    """A store with a run and a conversation of each owner, every text of which says whose it is."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self.runs: dict[str, str] = {}
        self.chats: dict[str, str] = {}
        for name, owner in OWNERS.items():
            request = make_request(f"{name}-prompt")
            run_id = add_run(store, request, words=(f"{name}-answer",), person_id=owner, group_id="together")
            store.set_note(run_id, f"{name}-note")
            store.set_tags(run_id, [f"{name}-tag"])
            store.rate(run_id, 1)
            self.runs[name] = run_id
            failed = make_request(f"{name}-failed")
            add_run(store, failed, words=(), status=RunStatus.FAILED, error=f"{name}-error", person_id=owner)
            mine = store.seen_by(Viewer(owner, sees_all=True) if owner else None)
            self.chats[name] = mine.chat.create(f"{name}-title", CONFIG, f"{name}-system")
            asked = mine.chat.append(self.chats[name], None, "user", f"{name}-asked")
            mine.chat.append(self.chats[name], asked, "assistant", f"{name}-said", run_id=run_id)

    def seen_by(self, person: str, *, sees_all: bool = False) -> RunStore:
        return self.store.seen_by(Viewer(person, sees_all=sees_all))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(RunStore.open(f"sqlite:///{tmp_path_factory.mktemp('data') / 'gearbox.db'}"))


def words_of(store: RunStore, filter: RunFilter, sort: RunSort = NEWEST_FIRST) -> str:
    """All that lists, single runs, timelines, facets and exports say, in one text."""
    page = store.page(filter, sort, limit=100)
    records = store.get_many([row.id for row in page.rows])
    timelines = [store.timeline(row.id) for row in page.rows]
    csv, jsonl = io.StringIO(), io.StringIO()
    assert store.export_csv(filter, csv) == store.export_jsonl(filter, jsonl) == page.total
    return "\n".join(map(repr, (page, records, timelines, store.facets().tags))) + csv.getvalue() + jsonl.getvalue()


WORDS = st.sampled_from(
    ["", "a", "-", "bob", "BOB-ANS", "bob-prompt", "bob-note", "bob-error", "desk-answer", "ann-", "%", "_", "b_b"]
)
FILTERS = st.builds(
    RunFilter,
    text=WORDS,
    tags=st.sampled_from([(), ("bob-tag",), ("ann-tag",), ("desk-tag", "bob-tag")]),
    statuses=st.sampled_from([(), (RunStatus.FINISHED,), (RunStatus.FAILED,)]),
    ratings=st.sampled_from([(), (1,), (0,)]),
    group_id=st.sampled_from([None, "together"]),
    person_id=st.sampled_from([None, BOB, ANN]),
    viewer=st.sampled_from([None, Viewer(BOB, sees_all=True)]),
)
SORTS = st.builds(RunSort, st.sampled_from(["created_at", "rating", "e2e_s", "model"]), st.booleans())


@given(filter=FILTERS, sort=SORTS)
def test_whatever_is_asked_no_text_of_another_person_comes_back(desk: Desk, filter: RunFilter, sort: RunSort) -> None:
    said = words_of(desk.seen_by(ANN), filter, sort)
    assert "bob-" not in said
    assert BOB not in said


@given(filter=FILTERS)
def test_counts_do_not_tell_what_others_wrote(desk: Desk, filter: RunFilter) -> None:
    seen = desk.seen_by(ANN)
    if filter.text.strip() or filter.tags:
        assert seen.totals(filter).runs == seen.page(filter).total
        assert (
            sum(bucket.totals.runs for bucket in seen.over_time(filter, timedelta(days=1))) == seen.page(filter).total
        )


@pytest.mark.slow
@given(filter=FILTERS.map(lambda filter: replace(filter, text=" ", tags=())))
def test_figures_are_the_same_whoever_looks(desk: Desk, filter: RunFilter) -> None:
    def figures(store: RunStore) -> tuple[object, ...]:
        return (
            store.totals(filter),
            store.latency(filter),
            store.over_time(filter, timedelta(days=1)),
            store.by_configuration(filter),
            store.facets().configurations,
            store.recent_speeds("m"),
        )

    assert figures(desk.seen_by(ANN)) == figures(desk.seen_by(BOB, sees_all=True)) == figures(desk.store)
    assert desk.store.totals().runs == 6


@given(filter=FILTERS, sort=SORTS)
def test_on_a_shared_desk_everything_is_shown_to_everybody(desk: Desk, filter: RunFilter, sort: RunSort) -> None:
    assert words_of(desk.seen_by(ANN, sees_all=True), filter, sort) == words_of(desk.store, filter, sort)


def test_ones_own_runs_and_the_desks_are_there(desk: Desk) -> None:
    said = words_of(desk.seen_by(ANN), RunFilter())
    for owner in ("ann", "desk"):
        assert all(f"{owner}-{what}" in said for what in ("prompt", "answer", "note", "tag", "error"))
    assert desk.seen_by(ANN).get(desk.runs["ann"]).text == "ann-answer"


@pytest.mark.parametrize(
    "use",
    [
        lambda store, run: store.get(run),
        lambda store, run: store.timeline(run),
        lambda store, run: store.set_note(run, "mine"),
        lambda store, run: store.set_tags(run, ["mine"]),
        lambda store, run: store.rate(run, -1),
    ],
)
def test_a_run_of_somebody_else_is_refused_in_words(desk: Desk, use: Callable[[RunStore, str], object]) -> None:
    before = desk.store.get(desk.runs["bob"])
    with pytest.raises(RunOfAnotherError, match="This run belongs to somebody else"):
        use(desk.seen_by(ANN), desk.runs["bob"])
    assert desk.store.get(desk.runs["bob"]) == before


def test_one_that_is_not_there_is_not_somebody_elses(desk: Desk) -> None:
    with pytest.raises(RunNotFoundError) as caught:
        desk.seen_by(ANN).get("0" * 32)
    assert not isinstance(caught.value, RunOfAnotherError)


def test_deleting_leaves_others_runs(store: RunStore) -> None:
    desk = Desk(store)
    assert desk.seen_by(ANN).delete(list(desk.runs.values())) == 2
    assert [run.id for run in store.get_many(list(desk.runs.values()))] == [desk.runs["bob"]]


def test_a_run_whose_end_waits_is_shown_to_its_person_alone(store: RunStore, file: Path) -> None:
    run_id = store.create_run(make_request(), person_id=BOB, environment={})
    store.finish_later(run_id, RunOutcome(RunStatus.FINISHED, "bob-answer"), None, "the disk is full")
    assert store.seen_by(Viewer(BOB, sees_all=False)).get(run_id).text == "bob-answer"
    ann = store.seen_by(Viewer(ANN, sees_all=False))
    assert ann.get_many([run_id]) == ()
    for ask in (ann.get, ann.timeline):
        with pytest.raises(RunOfAnotherError):
            ask(run_id)
    # nor where the database is lost, and nothing but what waits can be told
    file.rename(file.with_name("away.db"))
    assert store.seen_by(Viewer(BOB, sees_all=False)).get_many([run_id])[0].text == "bob-answer"
    assert ann.get_many([run_id]) == ()
    assert store._outbox.find(ENDING, run_id)


# --- conversations ------------------------------------------------------------------------------------


@given(text=st.sampled_from(["", "bob", "BOB-TITLE", "bob-said", "-", "title", "ann-asked", "%"]))
def test_conversations_are_listed_and_found_for_their_person_and_the_desks_for_everybody(desk: Desk, text: str) -> None:
    for sees_all in (False, True):
        chats = desk.seen_by(ANN, sees_all=sees_all).chat
        titles = {chat.title for chat in chats.conversations(text)}
        assert titles <= {"ann-title", "desk-title"}
        assert chats.count(text) == len(titles)
    assert {chat.title for chat in desk.seen_by(ANN).chat.conversations()} == {"ann-title", "desk-title"}
    assert len(desk.store.chat.conversations()) == 3


@pytest.mark.parametrize(
    "use",
    [
        lambda chats, chat: chats.get(chat),
        lambda chats, chat: chats.append(chat, None, "user", "mine"),
        lambda chats, chat: chats.rename(chat, "mine"),
        lambda chats, chat: chats.configure(chat, {}, "mine"),
        lambda chats, chat: chats.set_leaf(chat, "x"),
        lambda chats, chat: chats.delete(chat),
    ],
)
def test_a_conversation_of_somebody_else_is_refused_in_words(desk: Desk, use: Callable[[Any, str], object]) -> None:
    before = desk.store.chat.get(desk.chats["bob"])
    with pytest.raises(ConversationOfAnotherError, match="This conversation belongs to somebody else"):
        use(desk.seen_by(ANN).chat, desk.chats["bob"])
    assert desk.store.chat.get(desk.chats["bob"]) == before


def test_nothing_else_of_somebodys_conversation_is_told(desk: Desk) -> None:
    chats = desk.seen_by(ANN).chat
    assert chats.state_of(desk.chats["bob"]) is None
    assert chats.timings(desk.chats["bob"]) == {}
    assert desk.seen_by(ANN, sees_all=True).chat.get(desk.chats["bob"]).title == "bob-title"


def test_a_conversation_belongs_to_whoever_begins_it(store: RunStore) -> None:
    begun = store.seen_by(Viewer(ANN, sees_all=True)).chat.create("T", CONFIG)
    assert (store.chat.get(begun).person_id, store.chat.get(store.chat.create("T", CONFIG)).person_id) == (ANN, None)


def test_an_export_names_persons_and_no_credential(desk: Desk) -> None:
    stream = io.StringIO()
    desk.seen_by(ANN).export_jsonl(RunFilter(), stream)
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {row["person_id"] for row in rows} == {ANN, None}
