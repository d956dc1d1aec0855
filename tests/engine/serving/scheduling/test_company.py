"""Requests that share passes: every answer is the one it gets alone, to the last bit."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import Engine
from engine.cache import KVCache
from engine.models.decoders.native_decoder import NativeDecoder, Segment
from engine.types import (
    COPY_PRECISIONS,
    CPU_PRECISIONS,
    CacheMode,
    CascadeConfig,
    Drafter,
    GenerationRequest,
    KVDtype,
    Message,
    OptimizationConfig,
    Precision,
    Queued,
    RouterKind,
    RunConfig,
    RunFinished,
    SamplingParams,
    SpeculationConfig,
    Tier,
    TokenEvent,
)
from tests.conftest import SMALL
from tests.support.near_ties import rows_are_alike
from tests.support.tiny import make_tiny_checkpoint

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog,", "add(left,", "right)", "gives", "42")
ROOM = 1024
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random models of two families, so that answers differ with every bit."""
    folder = tmp_path_factory.mktemp("models")
    make_tiny_checkpoint(folder / "one", "qwen3", seed=1, max_position_embeddings=ROOM)
    make_tiny_checkpoint(folder / "two", "llama", seed=2, hidden_size=128, max_position_embeddings=ROOM)
    return folder


@pytest.fixture(scope="module")
def tiny(tiny_models: Path) -> Iterator[Engine]:
    engine = Engine(tiny_models, threads=1)
    yield engine
    engine.close()


def requests(rng: random.Random, count: int, models: list[str], precisions: list[Precision]) -> list[GenerationRequest]:
    """Requests with random gears, lengths and sessions, some of which begin alike."""
    beginnings = [" ".join(rng.choices(WORDS, k=rng.choice((5, 60)))) for _ in range(3)]
    return [_request(rng, rng.choice(beginnings), models, precisions) for _ in range(count)]


def _request(rng: random.Random, beginning: str, models: list[str], precisions: list[Precision]) -> GenerationRequest:
    model, precision = rng.choice(models), rng.choice(precisions)
    greedy = rng.random() < 0.6
    drafts = rng.random() < 0.4
    smaller = [name for name in models if name != model]
    ladder = bool(smaller) and rng.random() < 0.3
    window = rng.choice((None, None, None, 64))
    # what is reused is what would have been computed, but for a window, which slides otherwise behind a kept beginning,
    # and where torch multiplies prompts, in other pieces then
    reuses = window is None and rows_are_alike(precision) and rng.random() < 0.7
    optimization = OptimizationConfig.at(
        precision,
        CacheMode.PREFIX if reuses else CacheMode.KV,
        rng.choice((KVDtype.BF16, KVDtype.BF16, KVDtype.INT8)),
        window,
        rng.choice(_drafters(smaller, precision)) if drafts else None,
        CascadeConfig(
            smaller=(Tier(model=smaller[0], precision=precision),),
            router=RouterKind.ESCALATE,
            thresholds=(rng.choice((0.0, 0.6, 1.0)),),
            guard=False,
        )
        if ladder
        else None,
    )
    sampling = SamplingParams(
        temperature=0.0 if greedy else 0.9,
        top_p=rng.choice((1.0, 0.9)),
        repetition_penalty=rng.choice((1.0, 1.2)),
        seed=rng.randrange(100),
        max_tokens=rng.choice((1, 5, 20, 60)),
    )
    prompt = f"{beginning} {' '.join(rng.choices(WORDS, k=rng.choice((1, 10, 90))))}"
    return GenerationRequest(
        messages=(Message("user", prompt),),
        config=RunConfig(model=model, optimization=optimization, sampling=sampling),
        cache_salt=rng.choice(("a", "b", "c")),
    )


def _drafters(smaller: list[str], precision: Precision) -> list[SpeculationConfig]:
    found = [SpeculationConfig(drafter=drafter) for drafter in (Drafter.NGRAM, Drafter.AUTO)]
    found += [SpeculationConfig.with_model(name, gamma=3) for name in smaller]
    return found if precision in COPY_PRECISIONS else [*found, SpeculationConfig.with_self(gamma=3)]


def answer(engine: Engine, request: GenerationRequest, *, cancel_after: int | None = None) -> RunFinished:
    generation, tokens = engine.generate(request), 0
    for event in generation:
        tokens += isinstance(event, TokenEvent)
        if cancel_after is not None and tokens > cancel_after:
            generation.cancel()
    assert isinstance(event, RunFinished), event
    return event


def answers_in_company(engine: Engine, asked: list[GenerationRequest], rng: random.Random) -> list[RunFinished | None]:
    """All at once, some of which are cancelled on the way (``None``)."""
    found: list[RunFinished | None] = [None] * len(asked)
    cancelled = {place: rng.randrange(10) for place in range(len(asked)) if rng.random() < 0.15}

    def follow(place: int) -> None:
        run = answer(engine, asked[place], cancel_after=cancelled.get(place))
        found[place] = None if place in cancelled else run

    threads = [threading.Thread(target=follow, args=(place,)) for place in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert all(found[place] is not None for place in range(len(asked)) if place not in cancelled)
    return found


def assert_same(alone: RunFinished, beside: RunFinished, request: GenerationRequest) -> None:
    assert beside.token_ids == alone.token_ids, request
    assert beside.text == alone.text
    assert beside.finish_reason == alone.finish_reason


@pytest.mark.parametrize("seed", range(6))
def test_every_answer_is_the_one_it_gets_alone(tiny: Engine, seed: int) -> None:
    rng = random.Random(seed)
    asked = requests(rng, 20, ["one", "two"], [Precision.INT4, Precision.INT8, Precision.BF16, Precision.NF4])
    beside = answers_in_company(tiny, asked, rng)
    shared = [run.metrics.mean_batch_size for run in beside if run and run.metrics]
    assert max(each or 1.0 for each in shared) > 1.5, "nobody had company"
    for request, run in zip(asked, beside, strict=True):
        if run is not None:
            assert_same(answer(tiny, replace(request, cold=True)), run, request)


def _longer(request: GenerationRequest) -> GenerationRequest:
    sampling = replace(request.config.sampling, max_tokens=200)
    return replace(request, config=replace(request.config, sampling=sampling))


@pytest.mark.parametrize("seed", range(2))
def test_what_gives_its_memory_back_goes_on_as_it_was(tiny_models: Path, seed: int) -> None:
    engine, rng = Engine(tiny_models, threads=1, running_kv_bytes=200_000), random.Random(seed)
    asked = [_longer(each) for each in requests(rng, 12, ["one", "two"], [Precision.INT4, Precision.INT8])]
    given_back: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.cache.kv_cache.CHUNK", 4)  # what answers come to is not there from the start
        give_back = KVCache.give_back
        patch.setattr(KVCache, "give_back", lambda cache: (given_back.append(cache.length), give_back(cache))[1])
        beside = answers_in_company(engine, asked, rng)
    assert given_back, "there was room for all"
    assert engine.status().preemptions == len(given_back)
    for request, run in zip(asked, beside, strict=True):
        if run is not None:
            assert_same(answer(engine, replace(request, cold=True)), run, request)
    engine.close()


def test_chats_that_outgrow_the_room_beside_one_another_give_back_only_what_is_not_kept(tiny_models: Path) -> None:
    engine = Engine(tiny_models, threads=1, running_kv_bytes=150_000)
    asked = [request(" ".join(WORDS * (5 + n)), max_tokens=8, salt=str(n)) for n in range(4)]
    firsts = [answer(engine, each) for each in asked]
    seconds = [
        replace(
            request("and then?", max_tokens=300, salt=each.cache_salt),
            messages=(*each.messages, Message("assistant", first.text, first.token_ids), Message("user", "and then?")),
        )
        for each, first in zip(asked, firsts, strict=True)
    ]
    left: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        give_back = KVCache.give_back
        patch.setattr(KVCache, "give_back", lambda cache: (give_back(cache), left.append(cache.length))[0])
        patch.setattr("engine.cache.kv_cache.CHUNK", 16)
        beside = answers_in_company(engine, seconds, random.Random(7))
    assert left, "there was room for all"
    assert all(left), "what is kept was given back too"
    for each, run in zip(seconds, beside, strict=True):
        if run is not None:
            assert run.metrics
            assert run.metrics.cached_tokens
            assert_same(answer(engine, replace(each, cold=True)), run, each)
    engine.close()


def test_on_real_weights_too(engine: Engine) -> None:
    check_on_real_weights(engine, 8, Precision.INT4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", CPU_PRECISIONS, ids=str)
def test_many_on_real_weights(engine: Engine, precision: Precision, record_property: Record) -> None:
    record_property("in company", check_on_real_weights(engine, 24, precision))


@pytest.mark.full
@pytest.mark.parametrize("precision", CPU_PRECISIONS, ids=str)
def test_two_hundred_on_real_weights_that_come_and_go(
    models_dir: Path, precision: Precision, record_property: Record
) -> None:
    engine = Engine(models_dir, running_kv_bytes=2 * 2**20)  # so that some give their KV back
    record_property("in company", check_on_real_weights(engine, 200, precision))
    engine.close()


def check_on_real_weights(engine: Engine, count: int, precision: Precision) -> str:
    """What was counted."""
    rng, given_back = random.Random(count), list[int]()
    asked = requests(rng, count, [SMALL], [precision])
    with pytest.MonkeyPatch.context() as patch:
        give_back = KVCache.give_back
        patch.setattr(KVCache, "give_back", lambda cache: (given_back.append(cache.length), give_back(cache))[1])
        beside = answers_in_company(engine, asked, rng)
    whole = [(request, run) for request, run in zip(asked, beside, strict=True) if run is not None]
    for request, run in whole:
        assert_same(answer(engine, replace(request, cold=True)), run, request)
    sampled = sum(request.config.sampling.temperature > 0 for request, _ in whole)
    sizes = [run.metrics.mean_batch_size or 1.0 for _, run in whole if run.metrics]
    return (
        f"{precision}: {len(whole)} of {count} requests, {sampled} of them sampled, answered as alone; "
        f"{count - len(whole)} cancelled, {len(given_back)} gave their KV back, batch size up to {max(sizes):.1f}"
    )


def request(prompt: str, *, max_tokens: int = 40, salt: str = "", **of: object) -> GenerationRequest:
    optimization = OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX)
    config = RunConfig(model="one", optimization=optimization, sampling=SamplingParams(max_tokens=max_tokens))
    return GenerationRequest(messages=(Message("user", prompt),), config=config, cache_salt=salt, **of)  # type: ignore[arg-type]


def test_two_that_begin_alike_compute_that_once(tiny: Engine) -> None:
    beginning = " ".join(WORDS * 8)
    asked = [request(f"{beginning} and then {n}", salt="twins") for n in range(4)]
    runs = answers_in_company(tiny, asked, random.Random(5))
    computed = [run.metrics.prompt_tokens - run.metrics.cached_tokens for run in runs if run and run.metrics]
    assert len(computed) >= 2
    assert sorted(computed)[-2] < 64 < max(computed), "only one of them read the beginning"
    assert any(run.cache and "was running" in run.cache.detail for run in runs if run)


def test_runs_share_the_passes_of_the_model_that_drafts_for_them(tiny: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    drafted = OptimizationConfig.at(
        Precision.INT4, CacheMode.KV, speculation=SpeculationConfig.with_model("two", Precision.INT4, gamma=4)
    )
    asked = [request(f"the fox and dog {n}", salt=str(n)) for n in range(3)]
    asked = [replace(each, config=replace(each.config, optimization=drafted)) for each in asked]
    alone = [answer(tiny, replace(each, cold=True)).token_ids for each in asked]
    together: dict[int, set[int]] = {}
    forward_many = NativeDecoder.forward_many

    def forward(decoder: NativeDecoder, segments: list[Segment]) -> object:
        together.setdefault(id(decoder), set()).add(len(segments))
        return forward_many(decoder, segments)

    monkeypatch.setattr(NativeDecoder, "forward_many", forward)
    beside = answers_in_company(tiny, asked, random.Random(0))
    assert [run.token_ids for run in beside if run] == [ids for run, ids in zip(beside, alone, strict=True) if run]
    assert len(together) == 2, "one model drafts and the other verifies"
    assert all(max(sizes) > 1 for sizes in together.values())


def test_one_that_is_to_be_alone_shares_no_pass(tiny: Engine) -> None:
    crowd = [request("a long story", max_tokens=200, salt=str(n)) for n in range(3)]
    alone = request("the fox", exclusive=True, salt="me")
    found: list[RunFinished] = []
    threads = [threading.Thread(target=lambda each=each: found.append(answer(tiny, each))) for each in crowd]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    events = list(tiny.generate(alone))
    for thread in threads:
        thread.join(60)
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert last.metrics is not None
    assert last.metrics.mean_batch_size == 1
    assert all(event.reason for event in events if isinstance(event, Queued))


def test_a_request_that_fails_takes_nobody_with_it(tiny: Engine) -> None:
    good = [request("a long story", max_tokens=60, salt=str(n)) for n in range(3)]
    failing = request("word " * 2 * ROOM)
    before = [answer(tiny, replace(each, cold=True)).token_ids for each in good]
    generations = [tiny.generate(each) for each in (*good, failing, *good)]
    ends = [list(generation)[-1] for generation in generations]
    kinds = [type(end).__name__ for end in ends]
    assert kinds == ["RunFinished"] * 3 + ["RunFailed"] + ["RunFinished"] * 3
    assert [end.token_ids for end in ends if isinstance(end, RunFinished)] == before * 2
