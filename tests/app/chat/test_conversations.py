"""What a conversation asks the engine, what it keeps of an answer, and how its branches grow."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import pytest

from app.chat import conversations as chat
from app.runs.races import Races
from app.runs.service import stream
from app.store import Conversation, RunOutcome, RunStatus, RunStore, StoreError, Timeline
from engine.errors import GearboxError, InvalidRequestError
from engine.types import CacheMode, OptimizationConfig, Precision, RunConfig, SamplingParams, TokenEvent
from tests.support.cascading import CASCADE, SMALL, CascadingEngine
from tests.support.fakes import FakeEngine

CONFIG = RunConfig(
    model="smollm2-135m",
    optimization=OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX),
    sampling=SamplingParams(max_tokens=32, seed=7),
)


@pytest.fixture
def chat_id(store: RunStore) -> str:
    return store.chat.create("T", CONFIG.to_dict(), " Be brief. ")


def read(store: RunStore, chat_id: str) -> Conversation:
    return store.chat.get(chat_id)


def ask(store: RunStore, chat_id: str, text: str, engine: FakeEngine | None = None) -> chat.Turn:
    """Say something and have it answered, as the page does."""
    asked = chat.say(store.chat, read(store, chat_id), text)
    return answer(store, chat_id, asked, engine or FakeEngine(["So", "."]))


def answer(store: RunStore, chat_id: str, asked: str, engine: FakeEngine, *, read_tokens: int = 99) -> chat.Turn:
    turn = chat.begin_turn(store, read(store, chat_id), asked, salt="session")
    with closing(stream(engine, store, turn.lane.request, person_id="session")) as events:
        for event in events:
            turn.lane.take(event)
            if len(turn.lane.tokens) == read_tokens:
                break
    chat.keep_answer(store, turn)
    return turn


def shown(store: RunStore, chat_id: str) -> list[str]:
    return [message.content for message in read(store, chat_id).path()]


@pytest.mark.parametrize(
    ("text", "title"),
    [(" Why\n is it? ", "Why is it?"), ("x" * 60, "x" * 60), ("x " * 60, ("x " * 30)[:59].rstrip() + "…")],
)
def test_a_title_is_the_start_of_the_text_on_one_line(text: str, title: str) -> None:
    assert chat.title_of(text) == title


def test_the_history_goes_back_with_the_very_tokens_of_each_answer(store: RunStore, chat_id: str) -> None:
    ask(store, chat_id, "Why?")
    turn = ask(store, chat_id, "And then?")
    request = turn.lane.request
    assert [(m.role, m.content, m.token_ids) for m in request.messages] == [
        ("system", "Be brief.", ()),
        ("user", "Why?", ()),
        ("assistant", "So.", (100, 101)),
        ("user", "And then?", ()),
    ]
    assert (request.cache_salt, request.cold, request.config) == ("session", False, CONFIG)
    assert shown(store, chat_id) == ["Why?", "So.", "And then?", "So."]


def test_without_a_system_prompt_the_history_begins_with_the_user(store: RunStore) -> None:
    plain = store.chat.create("T", CONFIG.to_dict(), "  ")
    assert [m.role for m in ask(store, plain, "Why?").lane.request.messages] == ["user"]


def test_an_answer_is_kept_once_with_its_run(store: RunStore, chat_id: str) -> None:
    turn = ask(store, chat_id, "Why?")
    chat.keep_answer(store, turn)
    _, kept = read(store, chat_id).messages
    assert (kept.content, kept.token_ids, kept.run_id) == ("So.", (100, 101), turn.lane.run_id)


def test_an_answer_is_kept_though_nobody_looks_at_it(store: RunStore, chat_id: str) -> None:
    races, engine = Races(), FakeEngine(["So", "."])
    asked = chat.say(store.chat, read(store, chat_id), "Why?")
    turn = chat.begin_turn(store, read(store, chat_id), asked, salt="p")
    races.start(turn, person="p", place=asked, engine=engine, store=store)
    assert turn.over.wait(30)
    assert turn.kept
    _, kept = read(store, chat_id).messages
    assert (kept.id, kept.content, kept.run_id) == (turn.answer_id, "So.", turn.lane.run_id)
    races.close()


def test_keeping_is_tried_again_after_an_error(store: RunStore, chat_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise StoreError("Full.")

    asked = chat.say(store.chat, read(store, chat_id), "Why?")
    turn = chat.begin_turn(store, read(store, chat_id), asked, salt="")
    for event in stream(FakeEngine(["So"]), store, turn.lane.request, person_id="s"):
        turn.lane.take(event)
    with monkeypatch.context() as patch:
        patch.setattr(store.chat, "keep_answer", refuse)
        with pytest.raises(StoreError, match="Full"):
            chat.keep_answer(store, turn)
    assert not turn.kept
    chat.keep_answer(store, turn)
    assert shown(store, chat_id) == ["Why?", "So"]


def test_a_stopped_answer_stays_and_the_chat_goes_on_from_it(store: RunStore, chat_id: str) -> None:
    asked = chat.say(store.chat, read(store, chat_id), "Tell me a story.")
    answer(store, chat_id, asked, FakeEngine(["Once", " upon", " a time"]), read_tokens=2)
    assert shown(store, chat_id) == ["Tell me a story.", "Once upon"]
    messages = ask(store, chat_id, "Go on.").lane.request.messages
    assert [(m.content, m.token_ids) for m in messages[2:]] == [("Once upon", (100, 101)), ("Go on.", ())]


def test_a_failed_turn_has_no_answer_and_the_next_words_take_its_place(store: RunStore, chat_id: str) -> None:
    ask(store, chat_id, "Why?")
    turn = ask(store, chat_id, "Too long", FakeEngine(["x"] * 3, failure=GearboxError("No."), fail_after=2))
    assert turn.lane.error == "No."
    assert shown(store, chat_id) == ["Why?", "So.", "Too long"]
    ask(store, chat_id, "Shorter")
    assert shown(store, chat_id) == ["Why?", "So.", "Shorter", "So."]
    assert "Too long" in [message.content for message in read(store, chat_id).messages]


def test_a_run_that_never_began_leaves_nothing(store: RunStore, chat_id: str) -> None:
    asked = chat.say(store.chat, read(store, chat_id), "Why?")
    turn = chat.begin_turn(store, read(store, chat_id), asked, salt="")
    chat.keep_answer(store, turn)
    assert shown(store, chat_id) == ["Why?"]


def test_an_edit_begins_a_branch_and_the_old_one_can_be_shown_again(store: RunStore, chat_id: str) -> None:
    for text in ("One", "Two", "Three"):
        ask(store, chat_id, text)
    before = read(store, chat_id)
    two = before.path()[2]
    edited = chat.edit(store.chat, before, two, "Zwei")
    answer(store, chat_id, edited, FakeEngine(["Ja"]))
    assert shown(store, chat_id) == ["One", "So.", "Zwei", "Ja"]
    after = read(store, chat_id)
    assert [message.content for message in after.siblings(two)] == ["Two", "Zwei"]
    assert after.newest_leaf(two.id) == before.leaf_id
    store.chat.set_leaf(chat_id, after.newest_leaf(two.id))
    assert shown(store, chat_id) == ["One", "So.", "Two", "So.", "Three", "So."]


def test_a_second_answer_is_drawn_with_the_next_seed_and_stands_beside_the_first(store: RunStore, chat_id: str) -> None:
    first = ask(store, chat_id, "Why?")
    again = answer(store, chat_id, first.asked_id, FakeEngine(["Thus"]))
    assert [t.lane.request.config.sampling.seed for t in (first, again)] == [7, 8]
    assert first.lane.request.config.hash == again.lane.request.config.hash
    kept = read(store, chat_id)
    assert [message.content for message in kept.siblings(kept.path()[-1])] == ["So.", "Thus"]


def test_a_cold_answer_has_the_seed_of_the_one_it_is_held_against(store: RunStore, chat_id: str) -> None:
    first = ask(store, chat_id, "Why?")
    request = chat.begin_turn(store, read(store, chat_id), first.asked_id, salt="session", cold_seed=7).lane.request
    assert (request.cold, request.config.sampling.seed) == (True, first.lane.request.config.sampling.seed)
    assert request.messages == first.lane.request.messages


def begin_and_die(store: RunStore, chat_id: str, asked: str, *, text: str, status: RunStatus) -> str:
    """A run whose answer never got into the conversation."""
    turn = chat.begin_turn(store, read(store, chat_id), asked, salt="session")
    run_id = store.create_run(turn.lane.request, person_id="session", group_id=turn.group_id, environment={})
    tokens = [TokenEvent(100 + n, word, 0.1, -0.5, 1.0) for n, word in enumerate(text.split())]
    if status is not RunStatus.RUNNING:
        store.finish_run(run_id, RunOutcome(status, text), Timeline.from_events(tokens) if tokens else None)
    return run_id


def test_what_an_interrupted_run_wrote_comes_back_once(store: RunStore, chat_id: str) -> None:
    ask(store, chat_id, "Why?")
    asked = chat.say(store.chat, read(store, chat_id), "And then?")
    run_id = begin_and_die(store, chat_id, asked, text="Once upon", status=RunStatus.INTERRUPTED)
    before = read(store, chat_id)
    assert chat.recover_answer(store, before)
    assert chat.recover_answer(store, before)  # another session, which had read it before
    kept = read(store, chat_id)
    assert shown(store, chat_id) == ["Why?", "So.", "And then?", "Once upon"]
    assert (kept.messages[-1].run_id, kept.messages[-1].token_ids) == (run_id, (100, 101))
    assert len(kept.messages) == 4
    assert not chat.recover_answer(store, kept)


@pytest.mark.parametrize(
    ("text", "status"),
    [("Half", RunStatus.FAILED), ("", RunStatus.INTERRUPTED), ("Half", RunStatus.RUNNING)],
)
def test_a_run_that_failed_wrote_nothing_or_goes_on_gives_no_answer(
    store: RunStore, chat_id: str, text: str, status: RunStatus
) -> None:
    asked = chat.say(store.chat, read(store, chat_id), "Why?")
    begin_and_die(store, chat_id, asked, text=text, status=status)
    assert not chat.recover_answer(store, read(store, chat_id))
    assert shown(store, chat_id) == ["Why?"]


def test_an_answer_that_is_there_is_not_recovered_beside_itself(store: RunStore, chat_id: str) -> None:
    turn = ask(store, chat_id, "Why?")
    store.chat.set_leaf(chat_id, turn.asked_id)
    assert not chat.recover_answer(store, read(store, chat_id))
    begin_and_die(store, chat_id, turn.asked_id, text="Other words", status=RunStatus.INTERRUPTED)
    assert chat.recover_answer(store, read(store, chat_id))
    assert [m.content for m in read(store, chat_id).children(turn.asked_id)] == ["So.", "Other words"]


def test_going_on_from_an_earlier_answer_branches_there(store: RunStore, chat_id: str) -> None:
    ask(store, chat_id, "One")
    ask(store, chat_id, "Two")
    store.chat.set_leaf(chat_id, read(store, chat_id).path()[1].id)
    ask(store, chat_id, "Other")
    assert shown(store, chat_id) == ["One", "So.", "Other", "So."]


@pytest.mark.parametrize("text", ["", " \n "])
def test_blank_words_are_refused_and_nothing_is_kept(store: RunStore, chat_id: str, text: str) -> None:
    ask(store, chat_id, "One")
    kept = read(store, chat_id)
    for add in (lambda: chat.say(store.chat, kept, text), lambda: chat.edit(store.chat, kept, kept.messages[0], text)):
        with pytest.raises(InvalidRequestError, match="type something"):
            add()
    assert read(store, chat_id) == kept


def test_exports_hold_the_whole_tree_and_the_branch_on_view(store: RunStore, chat_id: str) -> None:
    ask(store, chat_id, "One ☃")
    kept = read(store, chat_id)
    edited = chat.edit(store.chat, kept, kept.messages[0], "Uno")
    run_id = answer(store, chat_id, edited, FakeEngine(["Si"])).lane.run_id
    kept = read(store, chat_id)
    tree = json.loads(chat.to_json(kept))
    assert [m["content"] for m in tree["messages"]] == ["One ☃", "So.", "Uno", "Si"]
    assert tree["messages"][3] | {"created_at": ""} == {
        "id": kept.leaf_id,
        "parent_id": edited,
        "role": "assistant",
        "content": "Si",
        "token_ids": [100],
        "run_id": run_id,
        "created_at": "",
    }
    assert [json.loads(line) for line in chat.to_jsonl(kept).splitlines()] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Uno"},
        {"role": "assistant", "content": "Si", "token_ids": [100]},
    ]


def test_a_turn_knows_the_tier_of_the_one_before_as_long_as_it_is_one(store: RunStore) -> None:
    gears = OptimizationConfig.at(Precision.INT4, cascade=replace(CASCADE, keep_tier=True))
    config = RunConfig(model="m", optimization=gears)
    chat_id = store.chat.create("T", config.to_dict(), "")
    first = ask(store, chat_id, "Why?", CascadingEngine())
    second = ask(store, chat_id, "And then?", CascadingEngine())
    assert (first.lane.request.last_tier, second.lane.request.last_tier) == (None, "m int4")
    plain = replace(config, optimization=OptimizationConfig.at(Precision.INT8))
    store.chat.configure(chat_id, plain.to_dict(), "")
    assert ask(store, chat_id, "Plainly?").lane.request.last_tier is None
    store.chat.configure(chat_id, config.to_dict(), "")
    assert ask(store, chat_id, "Again?").lane.request.last_tier is None, (
        "nothing is known after a turn without a cascade"
    )


def test_another_answer_keeps_to_the_turn_before_it_and_not_to_its_sibling(store: RunStore) -> None:
    gears = OptimizationConfig.at(Precision.INT4, cascade=CASCADE)
    chat_id = store.chat.create("T", RunConfig(model="m", optimization=gears).to_dict(), "")
    first = ask(store, chat_id, "Why?", CascadingEngine())
    again = answer(store, chat_id, first.asked_id, CascadingEngine())
    assert again.lane.request.last_tier is None
    assert again.lane.request.config.ladder[0] == SMALL


def test_half_characters_are_the_same_text_in_the_chat_its_runs_and_its_exports(store: RunStore) -> None:
    half, whole = "half \ud83d nul \0", "half \ufffd nul \ufffd"
    chat_id = store.chat.create(chat.title_of(half), CONFIG.to_dict(), half)
    engine = FakeEngine(["a", "\0", "b"])
    first = ask(store, chat_id, half, engine)
    ask(store, chat_id, half, engine)
    conversation = read(store, chat_id)
    assert (conversation.title, conversation.system) == (whole, whole)
    assert [message.content for message in engine.requests[1].messages] == [whole, whole, "a\ufffdb", whole]
    assert first.lane.run_id is not None
    assert store.get(first.lane.run_id).messages == engine.requests[0].messages
    for export in (chat.to_json(conversation), chat.to_jsonl(conversation)):
        assert whole in export
        assert export.encode()
