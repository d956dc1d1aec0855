"""What a request may ask of choosing tokens, in the engine: with every gear the same tokens, and told as asked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine import Engine
from engine.generation.choosing import Chooser
from engine.types import (
    Backend,
    CacheMode,
    CascadeConfig,
    Drafter,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
    SpeculationConfig,
    Tier,
    TokenEvent,
)
from tests.conftest import SMALL
from tests.engine.test_engine import BACKENDS, failure, finish
from tests.support.schemas import bounded_schemas
from tests.support.tiny import make_tiny_checkpoint

ASKED = (Message("user", "Write the names, ages and favourite colours of three people, again and again."),)
PEOPLE = json.dumps(
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 12},
                "age": {"type": "integer", "minimum": 0, "maximum": 99},
            },
            "required": ["name", "age"],
            "additionalProperties": False,
        },
        "minItems": 2,
        "maxItems": 3,
    }
)
FEATURES: dict[str, dict[str, Any]] = {
    "penalties": {"frequency_penalty": 0.4, "presence_penalty": 0.3},
    "encouraged": {"frequency_penalty": -0.5},
    "bias": {"logit_bias": ((198, -100.0), (28, 3.0), (30, 2.5))},
    "schema": {"json_schema": PEOPLE},
    "all": {"json_schema": '{"type":"object"}', "presence_penalty": 0.2, "logit_bias": ((17, 4.0),), "top_logprobs": 2},
}
NGRAM = SpeculationConfig(drafter=Drafter.NGRAM, gamma=4)
_salts = count()

features = pytest.mark.parametrize("asked", FEATURES.values(), ids=FEATURES)


def request(
    asked: dict[str, Any],
    *,
    model: str = SMALL,
    gears: OptimizationConfig | None = None,
    backend: Backend = Backend.LOCAL,
    completion: str | None = None,
    salt: str = "",
) -> GenerationRequest:
    sampling = SamplingParams(**{"max_tokens": 48, **asked})
    gears = gears or OptimizationConfig.at(Precision.INT4 if backend is Backend.LOCAL else Precision.BF16)
    config = RunConfig(model=model, backend=backend, optimization=gears, sampling=sampling)
    messages = ASKED if completion is None else ()
    return GenerationRequest(messages=messages, completion=completion, config=config, cache_salt=salt)


def gears(mode: CacheMode = CacheMode.KV, speculation: SpeculationConfig | None = None) -> OptimizationConfig:
    return OptimizationConfig.at(Precision.INT4, mode, speculation=speculation)


@features
@pytest.mark.parametrize(
    "speculation", [NGRAM, SpeculationConfig.with_self(Precision.NF4, gamma=3)], ids=["ngram", "copy"]
)
def test_greedy_tokens_are_the_same_with_drafts_and_the_check_of_them_agrees(
    engine: Engine, asked: dict[str, Any], speculation: SpeculationConfig
) -> None:
    gears_of = OptimizationConfig.at(Precision.INT8 if speculation is not NGRAM else Precision.INT4)
    plain = finish(engine, request(asked, gears=gears_of))
    drafting = request(asked, gears=replace(gears_of, speculation=speculation))
    drafted = finish(engine, drafting)
    assert drafted.token_ids == plain.token_ids
    assert drafted.finish_reason == plain.finish_reason
    assert drafted.metrics is not None
    assert drafted.metrics.drafted_tokens > 0
    assert engine.check_losslessness(drafting, drafted.token_ids).divergence is None


@features
def test_greedy_tokens_are_the_same_after_a_kept_prefix(engine: Engine, asked: dict[str, Any]) -> None:
    plain, salt = finish(engine, request(asked)), f"chosen {next(_salts)}"
    for place in range(2):
        kept = finish(engine, request(asked, gears=gears(CacheMode.PREFIX), salt=salt))
        assert kept.token_ids == plain.token_ids
        assert kept.metrics is not None
        assert (kept.metrics.cached_tokens > 0) == bool(place)


@features
@pytest.mark.parametrize("speculation", [None, NGRAM], ids=["plain", "ngram"])
def test_a_seed_repeats_and_another_does_not(
    engine: Engine, asked: dict[str, Any], speculation: SpeculationConfig | None
) -> None:
    def drawn(seed: int) -> tuple[int, ...]:
        sampled = {**asked, "temperature": 1.0, "seed": seed}
        # cold: what the session wrote before drafts nothing
        return finish(engine, replace(request(sampled, gears=gears(speculation=speculation)), cold=True)).token_ids

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_the_kernels_and_torch_choose_the_same(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in FEATURES.values():
        sampled = {**asked, "temperature": 0.8, "seed": 5, "top_k": 40, "max_tokens": 24}
        native = finish(engine, request(sampled))
        with monkeypatch.context() as patch:
            init = Chooser.__init__

            def by_torch(self: Chooser, *arguments: Any, init: Any = init) -> None:
                init(self, *arguments)
                self._native = None

            patch.setattr(Chooser, "__init__", by_torch)
            assert finish(engine, request(sampled)).token_ids == native.token_ids


def test_penalties_make_an_answer_repeat_itself_less(engine: Engine) -> None:
    asked = {"max_tokens": 96}
    plain, varied = finish(engine, request(asked)), finish(engine, request({**asked, "frequency_penalty": 1.5}))
    assert max(Counter(varied.token_ids).values()) < max(Counter(plain.token_ids).values())


def test_a_bias_of_a_hundred_forbids_or_decides(engine: Engine) -> None:
    plain = finish(engine, request({"max_tokens": 12}))
    banned = finish(engine, request({"max_tokens": 12, "logit_bias": tuple((i, -100.0) for i in set(plain.token_ids))}))
    assert not set(plain.token_ids) & set(banned.token_ids)
    assert finish(engine, request({"max_tokens": 4, "logit_bias": ((44, 100.0),)})).token_ids == (44,) * 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_likeliest_tokens_are_told_with_each(engine: Engine, backend: Backend) -> None:
    events = list(engine.generate(request({"top_logprobs": 5, "presence_penalty": 2.0}, backend=backend)))
    tokens = [event for event in events if isinstance(event, TokenEvent)]
    assert tokens
    for token in tokens:
        logprobs = [logprob for _, _, logprob in token.top_logprobs]
        assert len(logprobs) == 5
        assert logprobs == sorted(logprobs, reverse=True)
        known = {token_id: logprob for token_id, _, logprob in token.top_logprobs}
        assert known.get(token.token_id, token.logprob) == pytest.approx(token.logprob, abs=1e-4)
        assert token.logprob <= logprobs[0] + 1e-6
    assert any(token.token_id != token.top_logprobs[0][0] for token in tokens), "the penalty changes nothing of them"
    assert {text for token in tokens for token_id, text, _ in token.top_logprobs if token_id == token.token_id}
    assert not any(event.top_logprobs for event in engine.generate(request({})) if isinstance(event, TokenEvent))


def check_json(run: RunFinished, schema: Any) -> None:
    if run.finish_reason == "stop":
        Draft202012Validator(schema).validate(json.loads(run.text))
    else:
        assert run.finish_reason == "length"


@pytest.mark.parametrize("examples", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_every_sampled_answer_that_ends_is_json_of_its_schema(engine: Engine, examples: int) -> None:
    ended = 0

    @given(bounded_schemas, st.integers(0, 2**32), st.sampled_from([None, NGRAM]))
    @settings(max_examples=examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def holds(schema: Any, seed: int, speculation: SpeculationConfig | None) -> None:
        nonlocal ended
        asked = {"temperature": 1.0, "seed": seed, "json_schema": json.dumps(schema), "max_tokens": 120}
        run = finish(engine, request(asked, gears=gears(speculation=speculation)))
        check_json(run, schema)
        ended += run.finish_reason == "stop"

    holds()
    assert ended >= examples // 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_answer_is_json_of_its_schema(engine: Engine, backend: Backend) -> None:
    run = finish(engine, request({"json_schema": PEOPLE, "max_tokens": 160}, backend=backend))
    assert run.finish_reason == "stop"
    check_json(run, json.loads(PEOPLE))


def test_an_answer_that_is_cut_says_so(engine: Engine) -> None:
    run = finish(engine, request({"json_schema": PEOPLE, "max_tokens": 3}))
    assert (run.finish_reason, len(run.token_ids)) == ("length", 3)


def test_what_cannot_be_asked_is_refused_before_anything_is_written(engine: Engine) -> None:
    for asked, says in (
        ({"json_schema": '{"not":{}}'}, "not in it is not supported"),
        ({"logit_bias": ((49152, 1.0),)}, "Logit bias names token 49,152, and the last one of smollm2-135m is 49,151"),
    ):
        events = list(engine.generate(request(asked)))
        assert not any(isinstance(event, TokenEvent) for event in events)
        refused = failure(engine, request(asked))
        assert refused.kind == "InvalidRequestError"
        assert says in refused.error


# --- a text continued as it is -------------------------------------------------------------------------

STORY = "Once upon a time there was a small robot that"


def test_a_text_is_read_as_it_is_and_continued(engine: Engine) -> None:
    run = finish(engine, request({"max_tokens": 12}, completion=STORY))
    assert run.metrics is not None
    assert run.metrics.prompt_tokens == 10
    typed = finish(engine, request({"max_tokens": 4}, completion="<|im_start|>"))
    assert typed.metrics is not None
    assert typed.metrics.prompt_tokens > 1, "what is typed is text, and no control token"


@pytest.mark.parametrize("asked", [{}, *FEATURES.values()], ids=["plain", *FEATURES])
def test_a_text_is_continued_alike_with_every_gear(engine: Engine, asked: dict[str, Any]) -> None:
    plain = finish(engine, request(asked, completion=STORY))
    assert finish(engine, request(asked, completion=STORY, gears=gears(speculation=NGRAM))).token_ids == plain.token_ids
    salt = f"story {next(_salts)}"
    for _ in range(2):
        kept = finish(engine, request(asked, completion=STORY, gears=gears(CacheMode.PREFIX), salt=salt))
        assert kept.token_ids == plain.token_ids


def test_a_text_that_goes_on_from_an_earlier_one_reuses_it_and_says_where_it_parts(engine: Engine) -> None:
    salt, kept = f"story {next(_salts)}", gears(CacheMode.PREFIX)
    asked = {"max_tokens": 8}
    first = finish(engine, request(asked, completion=STORY, gears=kept, salt=salt))
    longer = finish(engine, request(asked, completion=f"{STORY}{first.text} And then", gears=kept, salt=salt))
    assert longer.metrics is not None
    assert longer.metrics.cached_tokens >= 10
    other = finish(engine, request(asked, completion=f"{STORY} could not fly, and so it walked", gears=kept, salt=salt))
    assert other.cache is not None
    assert other.cache.cause == "edited turn"
    assert "The text differs" in other.cache.detail
    chat = finish(engine, request(asked, gears=kept, salt=salt))
    assert chat.cache is not None


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Random models with one tokenizer and a table that is wider than its vocabulary."""
    folder = tmp_path_factory.mktemp("ladder")
    make_tiny_checkpoint(folder / "small", "qwen3", seed=1, max_position_embeddings=1024)
    make_tiny_checkpoint(
        folder / "large", "llama", seed=3, hidden_size=128, intermediate_size=256, max_position_embeddings=1024
    )
    engine = Engine(folder)
    yield engine
    engine.close()


@pytest.mark.parametrize("completion", [None, STORY], ids=["chat", "text"])
@features
def test_a_cascade_gives_the_tokens_that_its_last_tier_gives_alone(
    ladder: Engine, asked: dict[str, Any], completion: str | None
) -> None:
    asked = {**asked, "max_tokens": 24}
    if "logit_bias" in asked:
        asked["logit_bias"] = ((17, 4.0), (30, -100.0))
    small, gears_alone = Tier(model="small", precision=Precision.INT4), OptimizationConfig.at(Precision.INT8)
    alone = finish(ladder, request(asked, model="large", gears=gears_alone, completion=completion))
    cascade = CascadeConfig(smaller=(small,), thresholds=(0.0,), guard=False)  # nothing is kept
    both = finish(
        ladder, request(asked, model="large", gears=replace(gears_alone, cascade=cascade), completion=completion)
    )
    assert both.cascade is not None
    assert both.metrics is not None
    assert both.metrics.discarded_tokens > 0
    assert both.token_ids == alone.token_ids


def test_padding_of_a_table_is_never_chosen(ladder: Engine) -> None:
    asked = {"temperature": 3.0, "json_schema": '{"type":"string"}', "top_logprobs": 20, "max_tokens": 64}
    for seed in range(3):
        tokens = [
            e for e in ladder.generate(request({**asked, "seed": seed}, model="small")) if isinstance(e, TokenEvent)
        ]
        assert max(token.token_id for token in tokens) < 320
        assert all(token_id < 320 for token in tokens for token_id, _, _ in token.top_logprobs)


def test_a_text_of_a_model_that_wants_one_begins_with_its_mark(tmp_path: Path) -> None:
    from tests.support.tokenizers_of_all_kinds import Rules, open_tokenizer, save_tokenizer, tokenizer_json

    for bos in (False, True):
        text = tokenizer_json(Rules(bos=bos))
        tokenizer = open_tokenizer(save_tokenizer(tmp_path / str(bos), text, "{{ messages[0].content }}"))
        ids = tokenizer.read_prompt(request({}, completion="<s>the fox</s>")).ids
        assert (ids[0] == tokenizer.bos_id) == bos
        assert not set(ids[bos:]) & tokenizer.control_tokens.keys()
        assert tokenizer.spell(ids[bos:]) == "<s>the fox</s>"
