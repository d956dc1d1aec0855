"""Models whose chat templates are somebody else's: each run ends in words, and all other sessions go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest

from engine import Engine
from engine.types import (
    CacheMode,
    GenerationRequest,
    Message,
    MissCause,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
)
from tests.support.tiny import CHAT_TEMPLATE, make_tiny_checkpoint

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
REASONING = CHAT_TEMPLATE.replace("message['content']", "message['content'].split('o')[-1]")
"""As those that leave out what an answer says before the end of its thoughts."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_checkpoint(folder / "tiny", "qwen2", max_position_embeddings=1024)
    for name, template in {"endless": ENDLESS, "syntax": "{% for %}", "reasoning": REASONING}.items():
        shutil.copytree(folder / "tiny", folder / name)
        (folder / name / "chat_template.jinja").write_text(template)
    return folder


@pytest.fixture
def engine(models: Path) -> Iterator[Engine]:
    with closing(Engine(models)) as engine:
        yield engine


def ask(engine: Engine, model: Path, *messages: Message, stop: tuple[str, ...] = ()) -> RunFinished | RunFailed:
    *_, last = engine.generate(request(model, *messages, stop=stop))
    assert isinstance(last, RunFinished | RunFailed)
    return last


def request(model: Path, *messages: Message, stop: tuple[str, ...] = ()) -> GenerationRequest:
    config = RunConfig(
        model=str(model),
        optimization=OptimizationConfig.at(Precision.INT8, CacheMode.PREFIX),
        sampling=SamplingParams(max_tokens=12, stop=stop),
    )
    return GenerationRequest(messages=messages or (Message("user", "Hi"),), config=config, cache_salt="me")


@pytest.mark.parametrize(
    ("model", "why"), [("endless", "took longer than 3 s and was stopped."), ("syntax", "cannot be read: ")]
)
def test_a_bad_template_fails_its_own_run_in_words_and_no_other(
    engine: Engine, models: Path, model: str, why: str
) -> None:
    bad, good = engine.generate(request(models / model)), engine.generate(request(models / "tiny"))
    *_, failed = bad
    assert isinstance(failed, RunFailed)
    assert (failed.kind, why in failed.error) == ("InvalidRequestError", True)
    assert failed.error.startswith("This model's chat template ")
    *_, finished = good
    assert isinstance(finished, RunFinished)


def test_stop_works_while_a_template_runs(engine: Engine, models: Path) -> None:
    ask(engine, models / "tiny")  # all that takes time at first is there
    run = engine.generate(request(models / "endless"))
    begun, events = monotonic(), iter(run)
    while monotonic() - begun < 0.7:
        next(events)
    run.cancel()
    *_, last = events
    assert isinstance(last, RunFinished)
    assert last.finish_reason == "abort"


def test_a_control_token_stops_an_answer(engine: Engine, models: Path) -> None:
    """The tiny model writes any token; the first control token it would write is asked for as a stop string."""
    whole = ask(engine, models / "tiny")
    assert isinstance(whole, RunFinished)
    text = whole.text
    stopped = ask(engine, models / "tiny", stop=("<|im_start|>", text[:1] if text else "a"))
    assert isinstance(stopped, RunFinished)
    assert stopped.finish_reason == "stop"
    assert stopped.text == ""


def test_an_answer_that_the_template_rewrites_is_read_anew_and_the_miss_says_so(engine: Engine, models: Path) -> None:
    model, question = models / "reasoning", Message("user", "Why is it, what is it, and where is it? " * 3)
    first = next(
        done
        for seed in range(200)
        if isinstance(done := ask(engine, model, replace(question, content=f"{question.content} {seed}")), RunFinished)
        and "o" in done.text[1:-1]
    )
    kept = engine.cache_status().kept[-1]
    answer = Message("assistant", first.text, first.token_ids)
    came = (*kept.messages[:-1], answer, Message("user", "And then?"))
    second = ask(engine, model, *came)
    without = ask(engine, model, *(replace(message, token_ids=()) for message in came))
    assert isinstance(second, RunFinished)
    assert isinstance(without, RunFinished)
    assert second.metrics
    assert without.metrics
    assert second.metrics.prompt_tokens == without.metrics.prompt_tokens
    assert second.token_ids == without.token_ids
    assert second.cache
    assert second.cache.cause is MissCause.TEMPLATE
    assert "The answer of turn 1 was read anew" in second.cache.detail
    assert "does not repeat it word for word" in second.cache.detail
