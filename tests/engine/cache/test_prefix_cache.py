"""KV lent to requests and kept after them: on real weights the answers are those of no cache at all."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import Engine
from engine.cache import CacheIdentity
from engine.cache.prefix_cache import GROWTH
from engine.types import (
    CacheMode,
    GenerationRequest,
    KVDtype,
    Message,
    MissCause,
    OptimizationConfig,
    Precision,
    PrefillDone,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
)
from tests.conftest import SMALL
from tests.support.near_ties import NearTies, rows_are_alike
from tests.support.tokenizers_of_all_kinds import open_tokenizer, transformers_own

MINE = CacheIdentity("weights", "int4", "gearbox", "bf16", None, "me")
_salts = count()


def fresh_salt() -> str:
    """A session of its own for each test, for all share one engine."""
    return f"session {next(_salts)}"


def request(
    messages: tuple[Message, ...],
    *,
    salt: str,
    mode: CacheMode = CacheMode.PREFIX,
    precision: Precision = Precision.INT4,
    max_tokens: int = 12,
    dtype: KVDtype = KVDtype.BF16,
    window: int | None = None,
    cold: bool = False,
    stop: tuple[str, ...] = (),
) -> GenerationRequest:
    config = RunConfig(
        model=SMALL,
        optimization=OptimizationConfig.at(precision, mode, dtype, window),
        sampling=SamplingParams(max_tokens=max_tokens, stop=stop),
    )
    return GenerationRequest(messages=messages, config=config, cache_salt=salt, cold=cold)


def run(engine: Engine, asked: GenerationRequest) -> RunFinished:
    last = list(engine.generate(asked))[-1]
    assert isinstance(last, RunFinished), last
    assert last.metrics
    return last


def cached(finished: RunFinished) -> int:
    assert finished.metrics
    return finished.metrics.cached_tokens


def said(finished: RunFinished) -> Message:
    return Message("assistant", finished.text, finished.token_ids)


# --- on real weights ---------------------------------------------------------------------------------

TURNS = ("My name is Ada. Say hello.", "What is my name?", "Name a colour.", "Name another one.")


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        (Precision.INT4, KVDtype.BF16),
        (Precision.INT8, KVDtype.BF16),
        (Precision.NF4, KVDtype.BF16),
        (Precision.INT4, KVDtype.INT8),
        pytest.param(
            Precision.BF16,
            KVDtype.BF16,
            marks=pytest.mark.skipif(not rows_are_alike(Precision.BF16), reason="torch reads prompts in 16 bits here"),
        ),
    ],
)
def test_a_chat_gives_the_tokens_it_would_give_without_reuse_and_computes_only_what_is_new(
    engine: Engine, precision: Precision, dtype: KVDtype
) -> None:
    salt = fresh_salt()
    history: tuple[Message, ...] = ()
    kept_before = 0
    for turn, text in enumerate(TURNS):
        history = (*history, Message("user", text))
        reused = run(engine, request(history, salt=salt, precision=precision, dtype=dtype))
        alone = run(engine, request(history, salt=salt, mode=CacheMode.KV, precision=precision, dtype=dtype))
        assert reused.token_ids == alone.token_ids
        if turn:
            assert reused.metrics
            assert reused.cache
            # what the model wrote but its last token, and all before it, is there
            assert reused.metrics.cached_tokens == reused.cache.nearest_tokens >= kept_before
            assert reused.cache.cause is None
            new = reused.metrics.prompt_tokens - reused.metrics.cached_tokens
            assert new < 30
        history = (*history, said(reused))
        assert reused.metrics
        kept_before = reused.metrics.prompt_tokens + reused.metrics.completion_tokens - 1


def test_an_answer_read_as_begun_leaves_in_the_cache_what_writing_it_left(engine: Engine) -> None:
    first = (Message("user", "What is 17 + 25?"),)
    for max_tokens in (4, 40):  # cut short, and ended by itself
        written, replayed = fresh_salt(), fresh_salt()
        answer = run(engine, request(first, salt=written, max_tokens=max_tokens))
        assert answer.finish_reason == ("length" if max_tokens == 4 else "stop")
        run(engine, request(first, salt=replayed, max_tokens=1))
        kept = run(engine, replace(request(first, salt=replayed, max_tokens=1), prefix_ids=answer.token_ids[:-1]))
        assert kept.token_ids == answer.token_ids[-1:]
        second = (*first, said(answer), Message("user", TURNS[1]))
        after_writing = run(engine, request(second, salt=written))
        after_reading = run(engine, request(second, salt=replayed))
        assert cached(after_reading) == cached(after_writing) > 0
        assert after_reading.token_ids == after_writing.token_ids
        (sequence,) = [held for held in engine.cache_status().kept if held.salt == replayed]
        assert [message.content for message in sequence.messages[:2]] == [first[0].content, answer.text]


def test_every_token_computed_from_the_whole_text_gives_the_same_answer(engine: Engine) -> None:
    messages = (Message("user", TURNS[0]),)
    taught = run(engine, request(messages, salt=fresh_salt(), mode=CacheMode.OFF))
    usual = run(engine, request(messages, salt=fresh_salt(), mode=CacheMode.KV))
    assert taught.token_ids == usual.token_ids
    assert taught.metrics
    assert taught.metrics.kv_bytes == 0


def test_a_cold_run_reuses_nothing_and_another_session_neither(engine: Engine) -> None:
    salt = fresh_salt()
    asked = request((Message("user", TURNS[0]),), salt=salt)
    assert cached(run(engine, asked)) == 0
    assert cached(run(engine, asked)) > 0
    cold = run(engine, replace(asked, cold=True))
    assert (cached(cold), cold.cache and cold.cache.cause) == (0, MissCause.COLD)
    stranger = run(engine, replace(asked, cache_salt=fresh_salt()))
    assert (cached(stranger), stranger.cache and stranger.cache.cause) == (0, MissCause.SESSION)
    for other in ({"precision": Precision.INT8}, {"dtype": KVDtype.INT8}, {"window": 512}):
        otherwise = run(engine, request(asked.messages, salt=salt, **other))  # type: ignore[arg-type]
        assert (cached(otherwise), otherwise.cache and otherwise.cache.cause) == (0, MissCause.CONFIGURATION)


def test_a_session_that_ended_is_forgotten(engine: Engine) -> None:
    asked = request((Message("user", TURNS[0]),), salt=fresh_salt())
    run(engine, asked)
    assert any(kept.salt == asked.cache_salt for kept in engine.cache_status().kept)
    engine.forget_session(asked.cache_salt)
    assert not any(kept.salt == asked.cache_salt for kept in engine.cache_status().kept)
    assert cached(run(engine, asked)) == 0


@pytest.mark.parametrize("kib", [0, 64])
def test_a_budget_too_small_for_one_sequence_keeps_none_and_answers_all_the_same(models_dir: Path, kib: int) -> None:
    engine = Engine(models_dir, kv_cache_bytes=kib * 1024)
    try:
        asked = request((Message("user", TURNS[0]),), salt="s")
        first, second = run(engine, asked), run(engine, asked)
        assert (cached(second), second.token_ids) == (0, first.token_ids)
        assert engine.cache_status().kept == ()
    finally:
        engine.close()


@pytest.fixture
def budgeted(engine: Engine) -> Iterator[Callable[[int], Engine]]:
    """The engine with nothing kept, on a budget of so many MiB."""
    before = engine.cache_status().budget_bytes

    def set_budget(mib: int) -> Engine:
        engine.set_cache_budget(0)
        engine.set_cache_budget(mib * 2**20)
        return engine

    yield set_budget
    engine.set_cache_budget(before)


@pytest.mark.parametrize("gears", [{}, {"dtype": KVDtype.INT8}, {"window": 4000}])
def test_a_long_answer_that_was_allowed_and_not_written_takes_no_budget(
    budgeted: Callable[[int], Engine], gears: dict[str, Any]
) -> None:
    """64 MiB are 2,912 tokens of this model's KV, and 4,000 may be written."""
    gears = {"max_tokens": 4000, "stop": tuple("aeiou "), **gears}
    engine, salt = budgeted(64), fresh_salt()
    history: tuple[Message, ...] = ()
    held = 0
    for text in TURNS:
        history = (*history, Message("user", text))
        reused = run(engine, request(history, salt=salt, **gears))
        alone = run(engine, request(history, salt=salt, mode=CacheMode.KV, **gears))
        assert reused.token_ids == alone.token_ids
        history = (*history, said(reused))
        metrics = reused.metrics
        assert metrics
        (kept,) = engine.cache_status().kept
        assert metrics.kv_bytes <= kept.nbytes <= GROWTH * metrics.kv_bytes
        assert metrics.cached_tokens == held
        held = kept.tokens


def test_two_chats_that_fit_when_cut_to_size_are_both_reused(budgeted: Callable[[int], Engine]) -> None:
    engine, salt = budgeted(4), fresh_salt()
    before = engine.cache_status().evicted
    asked = [
        request((Message("user", f"{TURNS[0]} {word}"),), salt=salt, max_tokens=60, stop=tuple("aeiou "))
        for word in ("Ada", "Bob")
    ]
    firsts = [run(engine, one) for one in asked]
    assert engine.cache_status().evicted == before
    for one, first in zip(asked, firsts, strict=True):
        more = replace(one, messages=(*one.messages, said(first), Message("user", TURNS[1])))
        assert first.metrics
        assert cached(run(engine, more)) >= first.metrics.prompt_tokens


def test_what_a_budget_would_keep_is_what_it_does_keep(engine: Engine) -> None:
    before = engine.cache_status().budget_bytes
    try:
        engine.set_cache_budget(0)
        engine.set_cache_budget(before)
        salt = fresh_salt()
        for word in ("red", "green", "blue"):
            run(engine, request((Message("user", word),), salt=salt, max_tokens=2))
        status = engine.cache_status()
        assert len(status.kept) == 3
        budget = status.kept[-1].nbytes + status.kept[-2].nbytes + 1
        assert (status.would_stay(budget), status.would_stay(0), status.would_stay(before)) == (2, 0, 3)
        engine.set_cache_budget(budget)
        assert [kept.messages[0].content for kept in engine.cache_status().kept] == ["green", "blue"]
        assert engine.cache_status().evicted[-1].messages[0].content == "red"
    finally:
        engine.set_cache_budget(before)


@pytest.mark.parametrize("dtype", list(KVDtype))
def test_a_chat_goes_on_beyond_its_window_and_reuses_what_it_still_holds(engine: Engine, dtype: KVDtype) -> None:
    salt = fresh_salt()
    history: tuple[Message, ...] = ()
    for turn in range(6):
        history = (*history, Message("user", f"{TURNS[turn % 4]} Then count from {turn} on."))
        finished = run(engine, request(history, salt=salt, dtype=dtype, window=128, max_tokens=40))
        metrics = finished.metrics
        assert metrics
        assert metrics.kv_bytes <= 128 * 23_040
        if turn:
            assert metrics.cached_tokens > 0.7 * metrics.prompt_tokens
        history = (*history, said(finished))
    assert metrics.prompt_tokens > 128


def test_a_text_longer_than_the_context_needs_a_window(tiny_models_dir: Path) -> None:
    engine = Engine(tiny_models_dir)
    try:
        long = (Message("user", "word " * 2000),)
        asked = request(long, salt="s", precision=Precision.BF16, max_tokens=4)
        asked = replace(asked, config=replace(asked.config, model="tiny"))
        last = list(engine.generate(asked))[-1]
        assert isinstance(last, RunFailed)
        gears = OptimizationConfig.at(Precision.BF16, CacheMode.PREFIX, window=256)
        slid = run(engine, replace(asked, config=replace(asked.config, optimization=gears)))
        assert slid.metrics
        assert slid.metrics.prompt_tokens > 1024
        assert slid.metrics.completion_tokens >= 1
        too_wide = OptimizationConfig.at(Precision.BF16, CacheMode.PREFIX, window=5000)
        last = list(engine.generate(replace(asked, config=replace(asked.config, optimization=too_wide))))[-1]
        assert isinstance(last, RunFailed)
        assert "larger than this model's context" in last.error
    finally:
        engine.close()


@pytest.mark.parametrize("cancel_at", ["prefill", "decode"])
def test_a_run_cancelled_midway_leaves_a_cache_that_answers_the_same(engine: Engine, cancel_at: str) -> None:
    long = Message("user", "Repeat after me. " + "The quick brown fox jumps over the lazy dog. " * 40)
    salt = fresh_salt()
    asked = request((long,), salt=salt)
    generation = engine.generate(replace(asked, config=replace(asked.config, sampling=SamplingParams(max_tokens=200))))
    for event in generation:
        if cancel_at == "prefill" or isinstance(event, PrefillDone):
            generation.cancel()
    again = run(engine, asked)
    alone = run(engine, request((long,), salt=salt, mode=CacheMode.KV))
    assert again.token_ids == alone.token_ids


@pytest.mark.parametrize("precision", [Precision.INT4, pytest.param(Precision.BF16, marks=pytest.mark.slow)])
def test_random_conversations_interleaved_answer_as_their_uncached_twins(
    engine: Engine, models_dir: Path, precision: Precision, record_property: Callable[[str, object], None]
) -> None:
    """Edits, branches, regenerations and repeats, under a budget that lets some sequences go.

    Where torch multiplies, a product over other rows rounds otherwise, so answers may part there, at near-ties.
    """
    exact = NearTies(models_dir)
    draw = random.Random(4)
    conversations: list[tuple[Message, ...]] = [() for _ in range(6)]
    salt = fresh_salt()
    budget_before = engine.cache_status().budget_bytes
    engine.set_cache_budget(30 * 2**20)
    parted, reuses = 0, 0
    try:
        for step in range(50):
            which = draw.randrange(len(conversations))
            history = conversations[which]
            if history and draw.random() < 0.25:  # back to an earlier turn
                history = history[: 2 * draw.randrange(len(history) // 2)]
            history = (*history, Message("user", f"{draw.choice(TURNS)} ({draw.randrange(3)})"))
            reused = run(engine, request(history, salt=salt, precision=precision, max_tokens=6))
            alone = run(engine, request(history, salt=salt, precision=precision, max_tokens=6, mode=CacheMode.KV))
            if reused.token_ids != alone.token_ids:
                assert not rows_are_alike(precision)
                exact.check(history, reused.token_ids, alone.token_ids)
                parted += 1
            reuses += cached(reused) > 0
            conversations[which] = (*history, said(reused)) if step % 7 else ()
    finally:
        engine.set_cache_budget(budget_before)
    assert reuses > 25
    record_property("near-ties", f"{precision}: {parted} of 50 answers")


# --- guards ------------------------------------------------------------------------------------------


def test_reused_kv_is_computed_anew_and_a_stale_one_is_caught_and_replaced(models_dir: Path) -> None:
    engine = Engine(models_dir, verify_cache=1.0)
    try:
        first = Message("user", TURNS[0])
        one = run(engine, request((first,), salt="s"))
        history = (first, said(one), Message("user", TURNS[1]))
        sound = run(engine, request(history, salt="s"))
        assert sound.cache
        assert sound.cache.verified is True
        assert engine._cache
        with torch.inference_mode():
            for kept in engine._cache.index.kept():
                for layer in kept.payload.layers:
                    layer[8:16].zero_()
        more = (*history, said(sound), Message("user", TURNS[2]))
        stale = run(engine, request(more, salt="s"))
        assert stale.cache
        assert stale.cache.verified is False
        assert stale.token_ids == run(engine, request(more, salt="s", mode=CacheMode.KV)).token_ids
        assert (engine.cache_status().verified, engine.cache_status().mismatches) == (2, 1)
        again = run(engine, request(more, salt="s"))
        assert again.cache
        assert again.cache.verified is True
    finally:
        engine.close()


def test_other_rope_settings_are_another_identity(tiny_models_dir: Path, tmp_path: Path) -> None:
    twisted = tmp_path / "twisted"
    shutil.copytree(tiny_models_dir / "tiny", twisted)
    config = json.loads((twisted / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] *= 2
    (twisted / "config.json").write_text(json.dumps(config))
    engine = Engine(tiny_models_dir)
    try:
        asked = request((Message("user", TURNS[0]),), salt="s", precision=Precision.BF16)
        straight, other = (
            replace(asked, config=replace(asked.config, model=model)) for model in ("tiny", str(twisted))
        )
        run(engine, straight)
        assert cached(run(engine, straight)) > 0
        assert cached(run(engine, other)) == 0
    finally:
        engine.close()


def test_an_answer_is_read_again_in_its_own_tokens(models_dir: Path) -> None:
    tokenizer = open_tokenizer(models_dir / SMALL)
    usual = tokenizer.encode_chat([Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "And?")])
    letters = tuple(i for letter in "Hello" for i in tokenizer.encode_document(letter))
    assert tokenizer.decode(letters) == "Hello"
    spelled = tokenizer.encode_chat(
        [Message("user", "Hi"), Message("assistant", "Hello", letters), Message("user", "And?")]
    )
    assert spelled != usual
    assert tokenizer.spell(spelled) == tokenizer.spell(usual)
    assert any(tuple(spelled[at : at + 5]) == letters for at in range(len(spelled)))


def test_tokens_that_do_not_spell_the_answer_are_left_aside(models_dir: Path) -> None:
    tokenizer = open_tokenizer(models_dir / SMALL)
    messages = [Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "And?")]
    lying = [messages[0], replace(messages[1], token_ids=(1, 2, 3)), messages[2]]
    assert tokenizer.encode_chat(lying) == tokenizer.encode_chat(messages)


def test_the_end_mark_of_an_answer_is_not_doubled(models_dir: Path) -> None:
    tokenizer = open_tokenizer(models_dir / SMALL)
    ids = tuple(tokenizer.encode_document("Hello"))
    end = transformers_own(tokenizer).convert_tokens_to_ids("<|im_end|>")
    assert end in tokenizer.stop_ids
    messages = [Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "And?")]
    known = [messages[0], replace(messages[1], token_ids=(*ids, end)), messages[2]]
    assert tokenizer.encode_chat(known) == tokenizer.encode_chat(messages)
