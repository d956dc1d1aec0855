"""Turns replayed in other cache modes: what is read, what the cache then holds, what is measured and kept."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from app.background.jobs import JobCancelled
from app.chat import conversations as chat
from app.chat.replay import ReplayError, answered_turns, config_in, measure_turns, own_mode, setting_of, timings_here
from app.runs.answers import RunNotFinishedError
from app.runs.service import stream
from app.store import Conversation, RunStore
from engine import Engine
from engine.errors import GearboxError
from engine.types import CacheMode, KVDtype, OptimizationConfig, Precision, RunConfig, SamplingParams
from tests.conftest import SMALL
from tests.support.disturbing import DISTURBED, QUIET, WHY
from tests.support.fakes import FakeEngine
from tests.support.jobs import ignore

PREFIX, KV, OFF = CacheMode.PREFIX, CacheMode.KV, CacheMode.OFF
CONFIG = RunConfig(
    model=SMALL,
    optimization=OptimizationConfig.at(Precision.INT4, PREFIX),
    sampling=SamplingParams(max_tokens=12, temperature=0.7, seed=3),
)


def hold(store: RunStore, engine: Engine | FakeEngine, *texts: str, config: RunConfig = CONFIG) -> Conversation:
    """A conversation of so many answered turns."""
    chat_id = store.chat.create("T", config.to_dict(), "Be brief.")
    for text in texts:
        asked = chat.say(store.chat, store.chat.get(chat_id), text)
        turn = chat.begin_turn(store, store.chat.get(chat_id), asked, salt=chat_id)
        with closing(stream(engine, store, turn.lane.request, person_id="session")) as events:
            for event in events:
                turn.lane.take(event)
        chat.keep_answer(store, turn)
    return store.chat.get(chat_id)


def measured(store: RunStore, conversation: Conversation, mode: CacheMode) -> list[tuple[int, int]]:
    """Prompt and cached tokens of each turn in a mode."""
    setting = setting_of(config_in(mode, CONFIG), conversation.system)
    kept = timings_here(store.chat, conversation.id, "cpu")
    timings = [kept[turn.asked.id, setting] for turn in answered_turns(conversation)]
    assert all(timing.ttft_s > 0 for timing in timings)
    return [(timing.prompt_tokens, timing.cached_tokens) for timing in timings]


def test_a_replayed_turn_finds_in_the_cache_exactly_what_the_chat_had_found(store: RunStore, engine: Engine) -> None:
    # two answers that are cut short, and one that ends by itself: each leaves another last token unread
    conversation = hold(store, engine, "Tell me about tea.", "And coffee?", "What is 17 + 25?", "Thanks. Go on.")
    runs = [store.get(turn.answer.run_id or "") for turn in answered_turns(conversation)]
    chat_found = [(run.metrics.prompt_tokens, run.metrics.cached_tokens) for run in runs if run.metrics]
    assert [cached > 0 for _, cached in chat_found] == [False, True, True, True]

    measure_turns(engine, store.chat, conversation, (PREFIX, KV, OFF), ignore)
    assert measured(store, conversation, PREFIX) == chat_found
    assert measured(store, conversation, KV) == measured(store, conversation, OFF) == [(n, 0) for n, _ in chat_found]
    assert store.page().total == 4
    assert not [kept for kept in engine.cache_status().kept if kept.salt.startswith("replay")]


def test_turns_are_replayed_with_their_very_history_one_greedy_token_each(store: RunStore) -> None:
    conversation = hold(store, engine := FakeEngine(["So", "."]), "One", "Two")
    asked = engine.requests.copy()
    engine.requests.clear()
    measure_turns(engine, store.chat, conversation, (KV, PREFIX), ignore)
    first_kv, second_kv, first, untimed, second = engine.requests
    assert [r.messages for r in (first_kv, second_kv)] == [r.messages for r in asked]
    assert [r.messages for r in (first, untimed, second)] == [asked[0].messages, asked[0].messages, asked[1].messages]
    assert [r.prefix_ids for r in engine.requests] == [(), (), (), (100,), ()]
    assert {r.config.sampling for r in engine.requests} == {SamplingParams(max_tokens=1)}
    assert [r.config.optimization.cache_mode for r in engine.requests] == [KV] * 2 + [PREFIX] * 3
    (salt,) = {r.cache_salt for r in engine.requests}
    assert salt != asked[0].cache_salt
    assert engine.forgotten == [salt]


def test_what_is_measured_is_not_measured_again(store: RunStore) -> None:
    conversation = hold(store, engine := FakeEngine(["So"]), "One", "Two")
    measure_turns(engine, store.chat, conversation, (KV,), ignore)
    engine.requests.clear()
    measure_turns(engine, store.chat, conversation, (KV,), ignore)
    assert engine.requests == []
    # another system prompt is another history
    other = replace(conversation, system="Be long.")
    measure_turns(engine, store.chat, other, (KV,), ignore)
    assert [r.messages[0].content for r in engine.requests] == ["Be long."] * 2


def test_cancelling_keeps_what_was_measured_and_forgets_the_rest(store: RunStore) -> None:
    conversation = hold(store, engine := FakeEngine(["So"]), "One", "Two", "Three")
    heard: list[float] = []

    def report(stage: str, fraction: float, *, loading: float | None = None) -> None:
        heard.append(fraction)
        if "turn 3" in stage:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        measure_turns(engine, store.chat, conversation, (KV,), report)
    assert len(store.chat.timings(conversation.id)) == 2
    assert len(engine.forgotten) == 1
    assert heard == sorted(heard)
    assert 0 < heard[-1] < 1
    engine.requests.clear()
    measure_turns(engine, store.chat, conversation, (KV,), lambda stage, fraction, loading=None: heard.append(fraction))
    assert len(engine.requests) == 1
    assert heard[-1] == 1


def test_a_run_that_fails_ends_the_measurement_in_its_words(store: RunStore) -> None:
    conversation = hold(store, FakeEngine(["So"]), "One", "Two")
    failing = FakeEngine(["So"], failure=GearboxError("The memory is full."))
    with pytest.raises(RunNotFinishedError, match="The memory is full"):
        measure_turns(failing, store.chat, conversation, (OFF,), ignore)
    with pytest.raises(ReplayError, match="without a token"):
        measure_turns(FakeEngine([]), store.chat, conversation, (OFF,), ignore)
    assert len(failing.forgotten) == 1
    assert store.chat.timings(conversation.id) == {}


def test_an_answer_of_unknown_tokens_is_not_guessed_at(store: RunStore) -> None:
    conversation = hold(store, engine := FakeEngine(["So"]), "One")
    store.chat.append(conversation.id, conversation.messages[0].id, "assistant", "From elsewhere")
    hold_on = store.chat.get(conversation.id)
    asked = chat.say(store.chat, hold_on, "Two")
    store.chat.append(conversation.id, asked, "assistant", "So", token_ids=(100,))
    with pytest.raises(ReplayError, match="not known"):
        measure_turns(engine, store.chat, store.chat.get(conversation.id), (PREFIX,), ignore)


def test_the_mode_a_chat_was_answered_in_is_its_own_only_if_all_of_it_was(store: RunStore) -> None:
    conversation = hold(store, FakeEngine(["So"]), "One", "Two")
    runs = [store.get(turn.answer.run_id or "") for turn in answered_turns(conversation)]
    assert own_mode(CONFIG, runs) is PREFIX
    assert own_mode(CONFIG, []) is None
    # another mode or sampling set now: what was answered stays what it was
    in_kv = replace(CONFIG, optimization=OptimizationConfig.at(Precision.INT4, KV), sampling=SamplingParams())
    assert own_mode(in_kv, runs) is PREFIX
    in_bf16 = replace(CONFIG, optimization=OptimizationConfig.at(Precision.BF16, PREFIX))
    assert own_mode(in_bf16, runs) is None
    mixed = hold(store, FakeEngine(["So"]), "One", config=in_kv)
    assert own_mode(CONFIG, [*runs, store.get(mixed.messages[1].run_id or "")]) is None


def test_without_a_cache_there_is_nothing_to_keep_in_8_bits_or_in_a_window() -> None:
    lossy = replace(CONFIG, optimization=OptimizationConfig.at(Precision.INT4, PREFIX, KVDtype.INT8, 128))
    assert config_in(OFF, lossy).optimization == OptimizationConfig.at(Precision.INT4, OFF)
    in_kv = config_in(KV, lossy).optimization
    assert (in_kv.kv_dtype, in_kv.window, in_kv.precision) == (KVDtype.INT8, 128, Precision.INT4)
    assert len({setting_of(config_in(mode, lossy), "") for mode in CacheMode}) == 3
    assert setting_of(CONFIG, "a") != setting_of(CONFIG, "b")


def test_a_disturbed_turn_is_measured_once_more_where_nothing_of_the_first_time_is_kept(store: RunStore) -> None:
    conversation = hold(store, engine := FakeEngine(["So"]), "One", "Two")
    engine.requests.clear()
    # the first turn twice; the second after the one before it, both times
    engine.disturbances = [DISTURBED, QUIET, QUIET, DISTURBED, QUIET, DISTURBED]
    measure_turns(engine, store.chat, conversation, (PREFIX,), ignore)
    salts = [request.cache_salt for request in engine.requests]
    assert len(salts) == 6
    assert (salts[0], salts[4]) == (salts[2], salts[5])
    assert len(set(salts)) == 3 == len(engine.forgotten)
    told = [timing.environment["disturbed"] for timing in store.chat.timings(conversation.id).values()]
    assert sorted(told, key=str) == [None, WHY]
