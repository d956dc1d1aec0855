"""System prompts kept for themselves, and shared among sessions by permission."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Engine, KeptSequence
from engine.cache import CacheIdentity, KVCache, Lease, PrefixCache, SystemPrompt, as_ids, explain
from engine.errors import InvalidRequestError
from engine.serving.system_prompts import LEAST_TOKENS, SystemPrompts
from engine.types import (
    SHARED_SALT,
    CacheMode,
    GenerationRequest,
    Message,
    MissCause,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
)
from tests.conftest import SMALL
from tests.support.tiny import make_tiny_checkpoint
from tests.support.tokenizers_of_all_kinds import open_tokenizer

RULES = Message("system", "You are the clerk of a small library. Answer in one short sentence, and never guess.")
OWN = Message("system", "You mend bicycles, and you speak of nothing else but bicycles all day long.")
SHARED = {"library": RULES.content}
COLOUR, RIVER = Message("user", "Name a colour."), Message("user", "Which river runs through Paris?")


@pytest.fixture
def tiny(tiny_models_dir: Path) -> Iterator[Engine]:
    """A fresh engine that shares one system prompt."""
    with closing(Engine(tiny_models_dir, shared_prompts=SHARED)) as engine:
        yield engine


def ask(*messages: Message, salt: str, model: str = "tiny", max_tokens: int = 4, **gears: Any) -> GenerationRequest:
    gears = {"precision": Precision.INT8, "cache_mode": CacheMode.PREFIX, **gears}
    return GenerationRequest(
        messages=messages,
        config=RunConfig(
            model=model,
            optimization=OptimizationConfig.at(**gears),
            sampling=SamplingParams(max_tokens=max_tokens),
        ),
        cache_salt=salt,
    )


def run(engine: Engine, request: GenerationRequest) -> RunFinished:
    last = list(engine.generate(request))[-1]
    assert isinstance(last, RunFinished), last
    return last


def cached(finished: RunFinished) -> int:
    assert finished.metrics
    return finished.metrics.cached_tokens


def entries(engine: Engine) -> list[KeptSequence]:
    return [kept for kept in engine.cache_status().kept if kept.is_system]


def conversations(engine: Engine) -> list[KeptSequence]:
    return [kept for kept in engine.cache_status().kept if not kept.is_system]


def uncached(engine: Engine, request: GenerationRequest) -> RunFinished:
    gears = OptimizationConfig.at(request.config.precision, CacheMode.KV)
    return run(engine, replace(request, config=replace(request.config, optimization=gears)))


def boundary(folder: Path, system: Message) -> int:
    """First tokens of a prompt that no question changes, by trying some."""
    tokenizer = open_tokenizer(folder)
    prompts = [tokenizer.encode_chat([system, Message("user", text)]) for text in ("Hi", "What?", "9", "Ça va?", "z")]
    return next(at for at, ids in enumerate(zip(*prompts, strict=False)) if len(set(ids)) > 1)


# --- shared, or a session's own --------------------------------------------------------------------


def test_another_session_starts_from_a_shared_system_prompt_and_says_what_it_says_without(
    tiny: Engine, tiny_models_dir: Path
) -> None:
    tokens = boundary(tiny_models_dir / "tiny", RULES)
    assert cached(run(tiny, ask(RULES, COLOUR, salt="one"))) == 0
    second = run(tiny, ask(RULES, RIVER, salt="two"))
    assert cached(second) == tokens > LEAST_TOKENS
    assert second.token_ids == uncached(tiny, ask(RULES, RIVER, salt="two")).token_ids
    assert second.cache
    assert (second.cache.cause, second.cache.nearest_tokens, second.cache.lost_tokens) == (None, tokens, 0)
    assert "shared as “library”" in second.cache.detail
    (entry,) = entries(tiny)
    assert (entry.shared_as, entry.tokens, entry.hits, entry.messages) == ("library", tokens, 1, (RULES,))
    assert entry.saved_s > 0


def test_without_permission_nothing_is_shared_and_each_session_keeps_its_own(tiny: Engine) -> None:
    assert cached(run(tiny, ask(OWN, COLOUR, salt="one"))) == 0
    second = run(tiny, ask(OWN, RIVER, salt="two"))
    assert (cached(second), second.cache and second.cache.cause) == (0, MissCause.SESSION)
    assert [(entry.salt, entry.shared_as) for entry in entries(tiny)] == [("one", None), ("two", None)]


@pytest.mark.parametrize("other", [RULES.content + " ", RULES.content[:-1], RULES.content + " Be kind."])
def test_only_the_very_text_is_shared(tiny: Engine, other: str) -> None:
    run(tiny, ask(RULES, COLOUR, salt="one"))
    assert cached(run(tiny, ask(Message("system", other), COLOUR, salt="two"))) == 0


def test_the_question_of_another_session_is_not_reused_though_it_is_the_same(tiny: Engine) -> None:
    first = run(tiny, ask(RULES, COLOUR, salt="one"))
    again = run(tiny, ask(RULES, COLOUR, salt="one"))
    stranger = run(tiny, ask(RULES, COLOUR, salt="two"))
    (entry,) = entries(tiny)
    assert cached(stranger) == entry.tokens < cached(again)
    assert stranger.token_ids == first.token_ids
    assert stranger.cache
    assert (stranger.cache.cause, stranger.cache.kept_text) == (MissCause.SESSION, "")


def test_a_session_cannot_take_the_name_of_what_is_shared() -> None:
    with pytest.raises(InvalidRequestError, match="shared:"):
        ask(RULES, COLOUR, salt=f"{SHARED_SALT}library")


def test_a_new_chat_of_the_same_session_is_given_a_copy_of_its_own_system_prompt(tiny: Engine) -> None:
    run(tiny, ask(OWN, COLOUR, salt="one"))
    (entry,) = entries(tiny)
    tiny.set_cache_budget(2 * entry.nbytes + 1)  # the conversation, used before, goes
    assert conversations(tiny) == []
    second = run(tiny, ask(OWN, RIVER, salt="one"))
    assert cached(second) == entry.tokens
    assert second.cache
    assert "kept for itself" in second.cache.detail
    assert second.token_ids == uncached(tiny, ask(OWN, RIVER, salt="one")).token_ids


def test_a_session_keeps_each_of_its_system_prompts_once(tiny: Engine) -> None:
    other = Message("system", OWN.content.replace("bicycles", "clocks"))
    for system in (OWN, other, OWN, RULES, other):
        run(tiny, ask(system, RIVER, salt="one"))
    assert {(entry.salt, entry.messages[0]) for entry in entries(tiny)} == {
        ("one", OWN),
        ("one", other),
        (f"{SHARED_SALT}library", RULES),
    }
    assert len(entries(tiny)) == 3


# --- what it outlives ------------------------------------------------------------------------------


def test_it_outlives_conversations_that_go_on_from_it_and_the_sessions_that_held_them(tiny: Engine) -> None:
    for salt in ("one", "two"):
        history: tuple[Message, ...] = (RULES,)
        for question in (COLOUR, RIVER, COLOUR):
            history = (*history, question)
            answer = run(tiny, ask(*history, salt=salt))
            history = (*history, Message("assistant", answer.text, answer.token_ids))
    (entry,) = entries(tiny)
    for salt in ("one", "two"):
        tiny.forget_session(salt)
    assert tiny.cache_status().kept == (entry,)
    third = run(tiny, ask(RULES, RIVER, salt="three"))
    assert cached(third) == entry.tokens
    assert third.token_ids == uncached(tiny, ask(RULES, RIVER, salt="three")).token_ids


def test_a_sessions_own_ends_with_it(tiny: Engine) -> None:
    run(tiny, ask(OWN, COLOUR, salt="one"))
    tiny.forget_session("one")
    assert tiny.cache_status().kept == ()


def test_conversations_leave_before_the_system_prompt_they_begin_with(tiny: Engine) -> None:
    run(tiny, ask(RULES, COLOUR, salt="one"))
    (entry,), (conversation,) = entries(tiny), conversations(tiny)
    tiny.set_cache_budget(entry.nbytes + int(2.5 * conversation.nbytes))
    for number in range(5):
        last = run(tiny, ask(RULES, Message("user", f"{number}, please."), salt=f"session {number}"))
    assert cached(last) == entry.tokens
    assert [kept.tokens for kept in entries(tiny)] == [entry.tokens]
    assert 1 <= len(conversations(tiny)) < 6


def test_a_budget_that_holds_the_conversation_alone_keeps_the_conversation(tiny: Engine) -> None:
    run(tiny, ask(OWN, COLOUR, salt="probe"))
    (entry,), (conversation,) = entries(tiny), conversations(tiny)
    tiny.set_cache_budget(0)
    a_token = entry.nbytes // entry.tokens
    tiny.set_cache_budget((conversation.tokens + entry.tokens) * a_token - 1)
    first = run(tiny, ask(OWN, COLOUR, salt="one"))
    assert [kept.is_system for kept in tiny.cache_status().kept] == [False]
    tiny.set_cache_budget(0)
    tiny.set_cache_budget(conversation.tokens * a_token - 1)  # too small for the conversation: its beginning has room
    run(tiny, ask(OWN, COLOUR, salt="one"))
    assert [kept.is_system for kept in tiny.cache_status().kept] == [True]
    tiny.set_cache_budget(entry.nbytes - 1)
    second = run(tiny, ask(OWN, COLOUR, salt="one"))
    assert tiny.cache_status().kept == ()
    assert (cached(second), second.token_ids) == (0, first.token_ids)


def test_one_that_left_is_named_as_the_cause(tiny: Engine) -> None:
    run(tiny, ask(RULES, COLOUR, salt="one"))
    before = tiny.cache_status().budget_bytes
    tiny.set_cache_budget(0)
    tiny.set_cache_budget(before)
    second = run(tiny, ask(RULES, RIVER, salt="two"))
    assert second.cache
    assert second.cache.cause is MissCause.EVICTED


# --- who gets none ---------------------------------------------------------------------------------


def test_another_precision_gets_nothing_and_says_why(tiny: Engine) -> None:
    run(tiny, ask(RULES, COLOUR, salt="one"))
    other = run(tiny, ask(RULES, RIVER, salt="two", precision=Precision.INT4))
    assert (cached(other), other.cache and other.cache.cause) == (0, MissCause.CONFIGURATION)
    assert len(entries(tiny)) == 2


def test_other_weights_get_nothing(tiny: Engine, tiny_models_dir: Path, tmp_path: Path) -> None:
    twin = make_tiny_checkpoint(tmp_path / "twin", "qwen2", max_position_embeddings=1024, seed=1)
    run(tiny, ask(RULES, COLOUR, salt="one"))
    other = run(tiny, ask(RULES, RIVER, salt="two", model=str(twin)))
    assert (cached(other), other.cache and other.cache.cause) == (0, MissCause.NOTHING)


@pytest.mark.parametrize(
    ("messages", "gears"),
    [
        ((COLOUR,), {}),
        ((RULES, COLOUR), {"window": 128}),
        ((RULES, COLOUR), {"cache_mode": CacheMode.KV}),
    ],
)
def test_nothing_is_kept_apart_without_one_in_a_window_or_for_one_run_alone(
    tiny: Engine, messages: tuple[Message, ...], gears: dict[str, Any]
) -> None:
    run(tiny, ask(*messages, salt="one", **gears))
    assert entries(tiny) == []


def test_a_longer_match_of_the_conversation_itself_wins(tiny: Engine) -> None:
    first = run(tiny, ask(RULES, COLOUR, salt="one"))
    history = (RULES, COLOUR, Message("assistant", first.text, first.token_ids), RIVER)
    second = run(tiny, ask(*history, salt="one"))
    (entry,) = entries(tiny)
    assert first.metrics
    assert cached(second) == first.metrics.prompt_tokens + len(first.token_ids) - 1 > entry.tokens
    assert entry.hits == 0


def test_an_edited_first_question_is_still_told_apart(tiny: Engine) -> None:
    first = run(tiny, ask(OWN, COLOUR, salt="one"))
    answer = Message("assistant", first.text, first.token_ids)
    edited = run(tiny, ask(OWN, RIVER, answer, COLOUR, salt="one"))
    assert edited.cache
    assert edited.cache.cause is MissCause.TURN
    assert cached(edited) >= entries(tiny)[0].tokens


def test_a_template_that_writes_the_system_prompt_last_keeps_none_apart(tiny_models_dir: Path) -> None:
    tokenizer = open_tokenizer(tiny_models_dir / "tiny")
    identity = CacheIdentity("weights", "int8", "gearbox", "bf16", None, "me")
    messages = (RULES, COLOUR)
    usual = as_ids(tokenizer.encode_chat(messages))
    assert SystemPrompts({}).of(messages, usual, identity, tokenizer) is not None
    reversed_ids = as_ids(tokenizer.encode_chat((COLOUR, RULES)))
    assert SystemPrompts({}).of(messages, reversed_ids, identity, tokenizer) is None


# --- on real weights -------------------------------------------------------------------------------


def test_on_real_weights_a_second_session_computes_its_question_alone(models_dir: Path) -> None:
    tokens = boundary(models_dir / SMALL, RULES)
    gears = {"model": SMALL, "precision": Precision.INT4, "max_tokens": 12}
    with closing(Engine(models_dir, shared_prompts=SHARED, verify_cache=1.0)) as engine:
        run(engine, ask(RULES, COLOUR, salt="one", **gears))
        second = run(engine, ask(RULES, RIVER, salt="two", **gears))
        assert cached(second) == tokens
        assert second.token_ids == uncached(engine, ask(RULES, RIVER, salt="two", **gears)).token_ids
        assert second.cache
        assert second.cache.verified is True
        run(engine, ask(OWN, COLOUR, salt="one", **gears))
        assert cached(run(engine, ask(OWN, RIVER, salt="two", **gears))) < LEAST_TOKENS
        run(engine, ask(Message("system", "Be brief."), RIVER, salt="three", **gears))  # too short to be worth it
        assert [entry.salt for entry in entries(engine)] == [f"{SHARED_SALT}library", "one", "two"]


# --- whatever is asked in whatever order -----------------------------------------------------------

ME = CacheIdentity("weights", "int4", "gearbox", "bf16", None, "")
SYSTEMS = {"": (), "shared": (7, 8, 9), "own": (7, 8, 6)}
asked = st.tuples(
    st.sampled_from(["one", "two"]),
    st.sampled_from(list(SYSTEMS)),
    st.lists(st.integers(0, 2), min_size=1, max_size=5),
    st.sampled_from(["keeps", "fails", "ends"]),
)


def small_cache(capacity: int) -> KVCache:
    return KVCache(n_layers=2, capacity=capacity, kv_heads=1, head_dim=4)


def lend(cache: PrefixCache, salt: str, kind: str, ids: list[int]) -> Lease:
    identity = replace(ME, salt=salt)
    owner = f"{SHARED_SALT}rules" if kind == "shared" else None
    system = SystemPrompt(identity.of_system_prompts(owner), as_ids(SYSTEMS[kind]), RULES) if kind else None
    report = explain(cache.index, identity, as_ids(ids), (RULES, COLOUR), str, cold=False, system=system)
    lease = cache.lend(identity, as_ids(ids), len(ids) + 1, small_cache, most_tokens=64, system=system)
    if report.cause is None:
        assert report.nearest_tokens == lease.cached_tokens
    return lease


@given(st.lists(asked, min_size=1, max_size=30), st.sampled_from([0, 600, 1500, 10**6]))
def test_no_session_is_ever_lent_more_of_another_than_the_shared_system_prompt(
    steps: list[tuple[str, str, list[int], str]], budget_bytes: int
) -> None:
    cache = PrefixCache(budget_bytes)
    asked_by: dict[str, list[list[int]]] = {"one": [], "two": []}
    for salt, kind, question, end in steps:
        ids = [*SYSTEMS[kind], *question]
        lease = lend(cache, salt, kind, ids)
        if lease.source and lease.source.identity.salt != salt:
            assert kind == "shared"
            assert lease.cached_tokens <= len(SYSTEMS["shared"])
        beyond_shared = lease.cached_tokens > (len(SYSTEMS["shared"]) if kind == "shared" else 0)
        assert not beyond_shared or any(
            ids[: lease.cached_tokens] == before[: lease.cached_tokens] for before in asked_by[salt]
        )
        # what was lent is what computing it would have given
        assert [float(lease.kv.layers[1][at, 0, 0, 0]) for at in range(lease.cached_tokens)] == ids[
            : lease.cached_tokens
        ]
        assert not any(kept.identity.is_system and kept.payload is lease.kv for kept in cache.index.kept())
        if end == "fails":
            cache.discard(lease)
            continue
        for at in range(lease.kv.length, len(ids)):
            for layer in lease.kv.layers:
                layer[at] = float(ids[at])
        lease.kv.commit(len(ids) - lease.kv.length)
        cache.settle(lease, as_ids([*ids, 99]), (RULES, COLOUR), new_cache=small_cache)
        asked_by[salt].append(ids)
        assert cache.index.used_bytes <= budget_bytes
        for kept in cache.index.kept():
            if kept.identity.is_system:
                assert kept.payload.capacity == len(kept.ids) == 3
                assert tuple(kept.ids.tolist()) in SYSTEMS.values()
                assert (kept.identity.salt == f"{SHARED_SALT}rules") == (tuple(kept.ids.tolist()) == SYSTEMS["shared"])
        if end == "ends":
            shared = [kept for kept in cache.index.kept() if kept.identity.salt.startswith(SHARED_SALT)]
            cache.forget(salt)
            asked_by[salt] = []
            assert all(kept in cache.index.kept() for kept in shared)
            assert not any(kept.identity.salt == salt for kept in cache.index.kept())


def test_a_copy_of_it_has_the_room_that_was_asked_for() -> None:
    cache = PrefixCache(10**6)
    rules = SystemPrompt(ME.of_system_prompts(), as_ids(range(20)), RULES)

    def asked_for(question: int) -> Lease:
        ids = as_ids([*range(20), question])
        lease = cache.lend(ME, ids, 22, small_cache, most_tokens=64, system=rules)
        lease.kv.commit(21 - lease.kv.length)
        cache.settle(lease, as_ids([*ids, 99]), (), new_cache=small_cache)
        return lease

    asked_for(30)
    second = asked_for(31)
    assert second.source
    assert second.source.identity.is_system
    assert (second.cached_tokens, second.kv.capacity, second.source.payload.capacity) == (20, 22, 20)


def test_no_memory_for_a_copy_keeps_the_conversation_all_the_same() -> None:
    cache = PrefixCache(10**6)
    lease = lend(cache, "one", "own", [7, 8, 6, 1])
    lease.kv.commit(4)
    cache.settle(lease, as_ids([7, 8, 6, 1, 99]), (RULES, COLOUR), new_cache=lambda capacity: None)
    assert [kept.identity.is_system for kept in cache.index.kept()] == [False]


def test_a_session_that_ended_meanwhile_leaves_no_system_prompt() -> None:
    cache = PrefixCache(10**6)
    lease = lend(cache, "one", "own", [7, 8, 6, 1])
    cache.forget("one")
    lease.kv.commit(4)
    cache.settle(lease, as_ids([7, 8, 6, 1, 99]), (RULES, COLOUR), new_cache=small_cache)
    assert cache.index.kept() == ()
