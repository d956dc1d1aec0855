"""Models on their way into memory: others' tokens go on meanwhile, and nothing is loaded twice or lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Generation, Window
from engine.errors import EngineClosedError, InsufficientMemoryError
from engine.machine.memory import RESERVE_BYTES
from engine.models.decoders.reading import Reading
from engine.models.decoders.weights import LoadedDecoder, estimate_bytes, load_decoder
from engine.models.sources.progress import silent
from engine.passes import Steps, Wait, perform_alone
from engine.serving.memory.pool import ModelPool
from engine.serving.memory.residents import ModelKey
from engine.speculation import StepTimes
from engine.types import (
    Backend,
    Drafter,
    Event,
    GenerationRequest,
    Loading,
    Precision,
    RunFailed,
    RunFinished,
    SpeculationConfig,
    TokenEvent,
)
from tests.support.evaluation import answer, asked
from tests.support.loading import open_model
from tests.support.tiny import make_tiny_checkpoint

LIMIT_S = 60
"""A guard against hanging, far above what anything here takes."""


class SlowLoading:
    """Stands where decoders are loaded: those of some models are not, until they are let."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.failing: Exception | None = None
        self.begun: list[str] = []
        self._arrived = threading.Condition()
        self._let = threading.Event()

    def __call__(self, config: Any, weights: Any, precision: Precision, packed: Path, progress: Any, *rest: Any) -> Any:
        name = weights.__self__.folder.name
        with self._arrived:
            self.begun.append(name)
            self._arrived.notify_all()
        if name in self.held:
            assert self._let.wait(LIMIT_S)
        if self.failing:
            raise self.failing
        loaded: LoadedDecoder = load_decoder(config, weights, precision, packed, progress, *rest)
        return loaded

    def wait_until_begun(self, name: str) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: name in self.begun, LIMIT_S)

    def let(self) -> None:
        self._let.set()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for seed, (name, family) in enumerate((("one", "qwen3"), ("two", "llama"), ("three", "llama"))):
        size = {"hidden_size": 128} if name == "two" else {}
        make_tiny_checkpoint(folder / name, family, seed=seed, max_position_embeddings=1024, **size)
    return folder


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowLoading]:
    loading = SlowLoading()
    monkeypatch.setattr("engine.backends.local.load_decoder", loading)
    yield loading
    loading.let()


@pytest.fixture
def engine(models: Path, slow: SlowLoading) -> Iterator[Engine]:
    engine = Engine(models, threads=1)
    yield engine
    slow.let()
    engine.close()


def request(model: str, *, max_tokens: int = 20, **of: Any) -> GenerationRequest:
    return replace(asked("the quick brown fox", model, Precision.INT4, max_tokens=max_tokens), **of)


def endless(model: str) -> GenerationRequest:
    """One that stands still once nobody reads."""
    bias = tuple((token_id, -100.0) for token_id in range(3))  # the tokens that end a text
    return asked("the quick brown fox", model, Precision.INT4, max_tokens=600, logit_bias=bias)


def stand_still_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that nobody reads go no further: after each token it is looked whether there is room to tell of it."""
    monkeypatch.setattr("engine.serving.scheduling.jobs.BUFFERED_EVENTS", 4)
    monkeypatch.setattr("engine.backends.writer.CONTINUATION_S", 0.0)


def ended(generation: Generation) -> list[Event]:
    """What is still told, up to the end."""
    return list(generation)


def resident(engine: Engine) -> set[str]:
    return {model.model for model in engine.status().resident}


def test_others_answers_go_on_while_a_model_is_loaded(engine: Engine, slow: SlowLoading) -> None:
    alone = {name: answer(engine, request(name)).token_ids for name in ("one", "two")}
    assert engine._pool is not None
    engine._pool.residents._loaded.clear()
    answer(engine, request("one", max_tokens=1))
    slow.held, slow.begun = {"two"}, []
    loading = engine.generate(request("two"))
    slow.wait_until_begun("two")
    assert [answer(engine, request("one")).token_ids for _ in range(2)] == [alone["one"]] * 2
    slow.let()
    events = ended(loading)
    assert isinstance(events[-1], RunFinished)
    assert events[-1].token_ids == alone["two"]
    assert slow.begun == ["two"]


def test_how_far_loading_is_is_told(engine: Engine, slow: SlowLoading) -> None:
    slow.held = {"two"}
    stages: list[str] = []
    for event in engine.generate(request("two")):
        if isinstance(event, Loading):
            stages.append(event.stage)
        if "Loading two in int4" in stages:  # else it may be over before anybody looks
            slow.let()
    assert stages[0] == "Opening two"
    assert stages[-1] == "Warming up two"
    assert "Loading two in int4" in stages


def test_two_requests_for_a_model_load_it_once(engine: Engine, slow: SlowLoading) -> None:
    slow.held = {"two"}
    first, second = (engine.generate(request("two", cache_salt=salt)) for salt in "ab")
    slow.wait_until_begun("two")
    next(event for event in second if isinstance(event, Loading) and event.stage == "Loading two in int4")
    slow.let()
    last = [ended(generation)[-1] for generation in (first, second)]
    assert all(isinstance(event, RunFinished) for event in last)
    assert last[0].token_ids == last[1].token_ids  # type: ignore[union-attr]
    assert slow.begun == ["two"]


def test_one_model_is_loaded_after_the_other(engine: Engine, slow: SlowLoading) -> None:
    slow.held = {"two"}
    first, second = engine.generate(request("two")), engine.generate(request("three"))
    slow.wait_until_begun("two")
    waits = next(event for event in second if isinstance(event, Loading) and event.stage.startswith("Waiting"))
    assert waits.stage == "Waiting: Loading two in int4"
    assert slow.begun == ["two"]
    slow.let()
    assert all(isinstance(ended(generation)[-1], RunFinished) for generation in (first, second))
    assert slow.begun == ["two", "three"]


def test_cancelled_while_loading_it_ends_at_once_and_nothing_stays(engine: Engine, slow: SlowLoading) -> None:
    answer(engine, request("one", max_tokens=1))
    slow.held = {"two"}
    loading = engine.generate(request("two"))
    slow.wait_until_begun("two")
    loading.cancel()
    last = ended(loading)[-1]
    assert isinstance(last, RunFinished)
    assert last.finish_reason == "abort"
    assert last.metrics is None
    assert answer(engine, request("one")).token_ids
    slow.let()
    assert resident(engine) == {"one"}
    assert answer(engine, request("two")).token_ids
    assert slow.begun.count("two") == 2, "what nobody wanted any more was used all the same"
    assert engine._pool is not None
    assert engine._pool.residents._in_use == []


def test_one_of_two_who_is_cancelled_leaves_the_other_the_model(engine: Engine, slow: SlowLoading) -> None:
    slow.held = {"two"}
    first, second = (engine.generate(request("two", cache_salt=salt)) for salt in "ab")
    slow.wait_until_begun("two")
    next(event for event in second if isinstance(event, Loading) and event.stage == "Loading two in int4")
    first.cancel()
    ended(first)
    slow.let()
    assert isinstance(ended(second)[-1], RunFinished)
    assert slow.begun == ["two"]


def test_a_failure_is_told_to_each_and_the_next_one_tries_again(engine: Engine, slow: SlowLoading) -> None:
    slow.held, slow.failing = {"two"}, ZeroDivisionError("made up")
    first, second = (engine.generate(request("two", cache_salt=salt)) for salt in "ab")
    slow.wait_until_begun("two")
    next(event for event in second if isinstance(event, Loading) and event.stage == "Loading two in int4")
    slow.let()
    for generation in (first, second):
        last = ended(generation)[-1]
        assert isinstance(last, RunFailed)
        assert "made up" in last.error
    slow.failing = None
    assert answer(engine, request("two")).token_ids
    assert slow.begun == ["two", "two"]


def test_a_closed_engine_ends_a_unit_that_waits_for_a_model(models: Path, slow: SlowLoading) -> None:
    engine, slow.held = Engine(models, threads=1), {"two"}
    errors: list[BaseException] = []

    def compare() -> None:
        try:
            engine.compare_window("two", Precision.INT4, Window((1, 2, 3), 1))
        except EngineClosedError as error:
            errors.append(error)

    caller, closing = threading.Thread(target=compare), threading.Thread(target=engine.close)
    caller.start()
    slow.wait_until_begun("two")
    closing.start()
    caller.join(LIMIT_S)
    assert len(errors) == 1
    assert closing.is_alive(), "what was being loaded was left behind"
    slow.let()
    closing.join(LIMIT_S)


def test_a_model_that_is_used_stays_while_another_is_loaded(
    models: Path, slow: SlowLoading, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_still_unread(monkeypatch)
    engine = Engine(models, threads=1, model_memory_bytes=1)
    running = engine.generate(endless("one"))
    next(event for event in running if isinstance(event, TokenEvent))
    assert answer(engine, request("two")).token_ids
    assert resident(engine) == {"one", "two"}
    assert isinstance(ended(running)[-1], RunFinished)
    assert answer(engine, request("three")).token_ids
    assert resident(engine) == {"three"}
    engine.close()


def test_a_request_waits_for_memory_that_another_uses(
    models: Path, slow: SlowLoading, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_still_unread(monkeypatch)
    engine = Engine(models, threads=1)
    alone = answer(engine, request("two")).token_ids
    sizes = {key.model: size for key, size in engine._pool.resident().items()}  # type: ignore[union-attr]
    running = engine.generate(endless("one"))
    next(event for event in running if isinstance(event, TokenEvent))
    engine._pool.residents._loaded.pop(ModelKey("two", Backend.LOCAL, Precision.INT4))  # type: ignore[union-attr]

    def available() -> int:
        """Room for the larger of the two, and a little KV."""
        held = sum(engine._pool.resident().values())  # type: ignore[union-attr]
        return RESERVE_BYTES + sizes["two"] + 100_000 - held

    monkeypatch.setattr("engine.machine.memory.available_bytes", available)
    waiting = engine.generate(request("two"))
    while engine.status().running < 2:
        next(waiting)
    assert isinstance(ended(running)[-1], RunFinished)
    last = ended(waiting)[-1]
    assert isinstance(last, RunFinished), last
    assert last.token_ids == alone
    engine.close()


def test_a_model_that_could_never_fit_waits_for_nobody(
    models: Path, slow: SlowLoading, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_still_unread(monkeypatch)
    engine = Engine(models, threads=1)
    running = engine.generate(endless("one"))
    next(event for event in running if isinstance(event, TokenEvent))
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: RESERVE_BYTES + 1000)
    monkeypatch.setattr("engine.serving.memory.residents.held_bytes", lambda device: 1000)
    last = ended(engine.generate(request("two")))[-1]
    assert isinstance(last, RunFailed)
    assert "all there could be if nothing else were in memory" in last.error
    assert resident(engine) == {"one"}
    running.cancel()
    ended(running)
    engine.close()


def test_steps_are_timed_while_nothing_is_loaded(
    engine: Engine, slow: SlowLoading, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(engine, request("one"))
    measure, quiet = StepTimes.measure, list[bool]()

    def watched(decoder: Any, reader: Any) -> Reading[StepTimes]:
        quiet.append(engine._pool._loading._current is None)  # type: ignore[union-attr]
        return (yield from measure(decoder, reader))

    monkeypatch.setattr(StepTimes, "measure", watched)
    slow.held = {"two"}
    loading = engine.generate(request("two"))
    slow.wait_until_begun("two")
    plain = request("one")
    gears = replace(plain.config.optimization, speculation=SpeculationConfig(drafter=Drafter.NGRAM))
    drafted = engine.generate(replace(plain, config=replace(plain.config, optimization=gears)))
    next(event for event in drafted if isinstance(event, Loading) and event.stage.startswith("Waiting"))
    assert quiet == []
    slow.let()
    assert all(isinstance(ended(generation)[-1], RunFinished) for generation in (loading, drafted))
    assert quiet == [True]


def test_what_is_being_loaded_has_its_memory_promised(
    models: Path, slow: SlowLoading, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, slow.held = ModelPool(models), {"two"}
    opened = open_model(pool, "two")
    run = asked("a", "two", Precision.INT4).config
    needed = estimate_bytes(opened.config, run.precision)
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: RESERVE_BYTES + needed + 1000)
    pool.residents.require_free(needed + 1000, "Something")
    with pool.residents.hold() as hold:
        steps = pool.acquire(opened, run, silent, hold)
        assert isinstance(next(steps), Wait)
        slow.wait_until_begun("two")
        pool.residents.require_free(1000, "Something")
        with pytest.raises(InsufficientMemoryError):
            pool.residents.require_free(1001, "Something")
        slow.let()
        perform_alone(rest(steps))
        pool.residents.require_free(needed + 1000, "Something")  # now it is measured with all else
        assert list(pool.resident()) == [ModelKey("two", Backend.LOCAL, Precision.INT4)]


def rest(steps: Steps[Any]) -> Steps[Any]:
    return (yield from steps)
