"""The request and its configuration: what is refused, and what makes two configurations one."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidRequestError
from engine.types import (
    MIN_WINDOW,
    Backend,
    CacheMode,
    CascadeConfig,
    Drafter,
    GenerationRequest,
    KVCacheConfig,
    KVDtype,
    Message,
    OptimizationConfig,
    Precision,
    QuantizationConfig,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
)
from engine.untrusted import valid_text

INT4 = OptimizationConfig(quantization=QuantizationConfig(precision=Precision.INT4))

samplings = st.builds(
    SamplingParams,
    temperature=st.floats(0, 5),
    top_p=st.floats(0, 1, exclude_min=True),
    top_k=st.integers(0, 10**6),
    repetition_penalty=st.floats(0.1, 5),
    seed=st.integers(0, 2**63 - 1),
    max_tokens=st.integers(1, 10**6),
    stop=st.lists(st.text(min_size=1), max_size=3).map(tuple),
    frequency_penalty=st.floats(-2, 2),
    presence_penalty=st.floats(-2, 2),
    logit_bias=st.dictionaries(st.integers(0, 10**5), st.floats(-100, 100), max_size=3).map(lambda d: tuple(d.items())),
    json_schema=st.sampled_from([None, "{}", '{ "type": "object" }', '{"b": 1.0, "a": "é"}']),
    top_logprobs=st.integers(0, 20),
)
configs = st.builds(
    RunConfig,
    model=st.text(min_size=1).filter(str.strip),
    optimization=st.builds(
        OptimizationConfig.at,
        st.sampled_from(Precision),
        st.sampled_from([CacheMode.KV, CacheMode.PREFIX]),
        st.sampled_from(KVDtype),
        st.none() | st.integers(MIN_WINDOW, 10**6),
    )
    | st.builds(OptimizationConfig.at, st.sampled_from(Precision), st.just(CacheMode.OFF)),
    sampling=samplings,
)


@given(configs)
def test_a_configuration_survives_json(config: RunConfig) -> None:
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@given(configs, configs)
def test_two_configurations_share_a_hash_only_if_they_differ_in_nothing_but_the_seed(
    one: RunConfig, other: RunConfig
) -> None:
    def without_seed(config: RunConfig) -> RunConfig:
        return dataclasses.replace(config, sampling=dataclasses.replace(config.sampling, seed=0))

    assert (one.hash == other.hash) == (without_seed(one) == without_seed(other))
    assert one.hash == without_seed(one).hash


@pytest.mark.parametrize(
    ("config", "known"),
    [
        (RunConfig(model="m"), "879ea52fae05ee56"),
        (RunConfig(model="m", backend=Backend.REFERENCE), "a749429992922d73"),
        (
            RunConfig(
                model="m",
                optimization=OptimizationConfig.at(
                    Precision.INT4, CacheMode.PREFIX, KVDtype.INT8, 128, SpeculationConfig()
                ),
            ),
            "ab05982b3709887e",
        ),
        (
            RunConfig(
                model="m",
                optimization=OptimizationConfig.at(
                    Precision.INT8, speculation=SpeculationConfig.with_self(Precision.NF4, gamma=3)
                ),
            ),
            "b2ce23a7f940c4d0",
        ),
        (
            RunConfig(
                model="m",
                optimization=OptimizationConfig.at(Precision.LLM_INT8, speculation=SpeculationConfig.with_model("s")),
            ),
            "e5bbd04627be8cdc",
        ),
        (
            RunConfig(
                model="m",
                optimization=OptimizationConfig.at(
                    Precision.NF4,
                    speculation=SpeculationConfig(drafter=Drafter.NGRAM),
                    cascade=CascadeConfig(
                        smaller=(Tier(model="s", precision=Precision.INT4),), thresholds=(0.5,), guard=False
                    ),
                ),
            ),
            "68f32364bd3b17d5",
        ),
        (
            RunConfig(
                model="m",
                optimization=OptimizationConfig.at(
                    Precision.NF4,
                    speculation=SpeculationConfig(drafter=Drafter.NGRAM),
                    cascade=CascadeConfig(smaller=(Tier(model="s", precision=Precision.INT4),), thresholds=(0.5,)),
                ),
            ),
            "7c4accb5a1b682dd",
        ),
        (
            RunConfig(
                model="m",
                sampling=SamplingParams(
                    temperature=0.7, top_p=0.9, top_k=40, repetition_penalty=1.1, max_tokens=64, stop=("\n",)
                ),
            ),
            "88ce0eb76b987d8b",
        ),
    ],
    ids=["plain", "reference", "kv", "copy", "smaller model", "cascade", "guarded cascade", "sampled"],
)
def test_hashes_are_those_of_the_runs_that_are_stored(config: RunConfig, known: str) -> None:
    """A configuration that hashed to another value would lose its place in every comparison."""
    assert config.hash == known


def test_a_run_stored_before_there_were_penalties_opens_without_them() -> None:
    tree = {
        "temperature": 0.5,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "seed": 3,
        "max_tokens": 9,
        "stop": ["a"],
    }
    opened = RunConfig.from_dict({"model": "m", "sampling": tree})
    assert opened.sampling == SamplingParams(temperature=0.5, seed=3, max_tokens=9, stop=("a",))
    assert json.loads(json.dumps(opened.to_dict()))["sampling"] == tree


@pytest.mark.parametrize(
    "changed",
    [
        {"frequency_penalty": 0.5},
        {"presence_penalty": -1},
        {"logit_bias": ((5, 1.0),)},
        {"json_schema": "{}"},
        {"top_logprobs": 1},
    ],
    ids=str,
)
def test_each_setting_that_came_later_is_told_only_while_it_is_on(changed: dict[str, Any]) -> None:
    plain, config = RunConfig(model="m"), RunConfig(model="m", sampling=SamplingParams(**changed))
    assert config.to_dict()["sampling"].keys() - plain.to_dict()["sampling"].keys() == changed.keys()
    assert config.hash != plain.hash


def test_one_bias_or_schema_written_in_two_ways_is_one_configuration() -> None:
    assert SamplingParams(logit_bias=((7, 1), (3, -2))) == SamplingParams(logit_bias=((3, -2.0), (7, 1.0)))
    spaced, tight = '{ "type" : "object",\n "title": "\\u00e9" }', '{"type":"object","title":"é"}'
    assert SamplingParams(json_schema=spaced) == SamplingParams(json_schema=tight)
    turned = SamplingParams(json_schema='{"title":"é","type":"object"}')
    assert turned != SamplingParams(json_schema=tight), "properties are written in the schema's order"


@pytest.mark.parametrize(
    ("changed", "plain"),
    [
        ({"max_tokens": 1, "stop": ("a",), "top_logprobs": 3, "seed": 4, "top_k": 1}, True),
        ({"temperature": 0.1}, False),
        ({"repetition_penalty": 1.1}, False),
        ({"frequency_penalty": 0.1}, False),
        ({"presence_penalty": 0.1}, False),
        ({"logit_bias": ((1, 1.0),)}, False),
        ({"json_schema": "{}"}, False),
    ],
    ids=str,
)
def test_whether_each_token_is_the_likeliest(changed: dict[str, Any], plain: bool) -> None:
    assert SamplingParams(**changed).takes_the_likeliest == plain


def test_a_cascade_stored_before_there_was_a_guard_has_none_and_keeps_its_hash() -> None:
    smaller = (Tier(model="s", precision=Precision.INT4),)
    guarded = RunConfig(
        model="m",
        optimization=OptimizationConfig.at(Precision.INT4, cascade=CascadeConfig(smaller=smaller, thresholds=(0.5,))),
    )
    tree = json.loads(json.dumps(guarded.to_dict()))
    assert RunConfig.from_dict(tree) == guarded
    del tree["optimization"]["cascade"]["guard"]
    older = RunConfig.from_dict(tree)
    assert older.optimization.cascade == CascadeConfig(smaller=smaller, thresholds=(0.5,), guard=False)
    assert json.loads(json.dumps(older.to_dict())) == tree
    assert older.hash != guarded.hash


def test_everything_that_can_be_chosen_says_what_it_is() -> None:
    for choice in (*Precision, *Drafter, *Backend):
        assert choice.info.help
        assert "\n" not in choice.info.help


def test_a_gear_that_is_off_is_not_in_the_hash() -> None:
    assert "quantization" not in RunConfig(model="m").canonical_json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": 5.1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"repetition_penalty": 0.0},
        {"seed": -1},
        {"max_tokens": 0},
        {"stop": ("",)},
        {"frequency_penalty": 2.1},
        {"frequency_penalty": math.nan},
        {"presence_penalty": -2.1},
        {"presence_penalty": math.inf},
        {"logit_bias": ((1, 100.5),)},
        {"logit_bias": ((1, math.nan),)},
        {"top_logprobs": 21},
        {"top_logprobs": -1},
        {"json_schema": "[]"},
    ],
    ids=str,
)
def test_sampling_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=r"must|least|between"):
        SamplingParams(**wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"logit_bias": ((-1, 1.0),)}, "names a token that is none"),
        ({"logit_bias": ((2**31, 1.0),)}, "names a token that is none"),
        ({"logit_bias": ((1, 1.0), (1, 2.0))}, "names a token twice"),
        ({"logit_bias": tuple((token_id, 1.0) for token_id in range(1025))}, "at most 1,024 tokens"),
        ({"json_schema": ""}, "is no JSON"),
        ({"json_schema": '{"type": NaN}'}, "NaN is no JSON number"),
        ({"json_schema": '{"a":' * 70 + "1" + "}" * 70}, "64 levels deep"),
        ({"json_schema": " " * 100_001}, "no more than 100,000 are read"),
    ],
    ids=["negative", "too large", "twice", "too many", "empty", "NaN", "deep", "long"],
)
def test_a_bias_or_schema_that_is_none_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        SamplingParams(**wrong)


def test_a_text_is_continued_or_messages_are_answered() -> None:
    config, messages = RunConfig(model="m"), (Message("user", "hi"),)
    assert GenerationRequest(messages=(), completion=" \n", config=config).prompt == " \n"
    assert GenerationRequest(messages=(), completion="a\0", config=config).completion == "a\ufffd"
    with pytest.raises(InvalidRequestError, match="nothing to continue"):
        GenerationRequest(messages=(), completion="", config=config)
    with pytest.raises(InvalidRequestError, match="two requests"):
        GenerationRequest(messages=messages, completion="a", config=config)


def test_requests_without_a_question_are_refused() -> None:
    config = RunConfig(model="m")
    for messages in ((), (Message("user", " \n\t"),), (Message("user", "hi"), Message("assistant", "hello"))):
        with pytest.raises(InvalidRequestError):
            GenerationRequest(messages=messages, config=config)


def test_quantization_to_sixteen_bits_is_the_gear_turned_off() -> None:
    with pytest.raises(InvalidRequestError, match="turn the gear off"):
        QuantizationConfig(precision=Precision.BF16)


def test_the_reference_takes_no_gears() -> None:
    with pytest.raises(InvalidRequestError, match="gears"):
        RunConfig(model="m", backend=Backend.REFERENCE, optimization=INT4)


def test_a_cache_within_one_request_is_the_gear_turned_off() -> None:
    with pytest.raises(InvalidRequestError, match="turn the gear off"):
        KVCacheConfig(mode=CacheMode.KV)
    assert OptimizationConfig.at(Precision.BF16, CacheMode.KV) == OptimizationConfig()
    assert OptimizationConfig().cache_mode is CacheMode.KV
    with pytest.raises(InvalidRequestError, match="nothing to keep in 8 bits"):
        KVCacheConfig(mode=CacheMode.OFF, dtype=KVDtype.INT8)
    with pytest.raises(InvalidRequestError, match="at least 64"):
        KVCacheConfig(window=63)


def test_a_message_survives_json_with_the_tokens_it_was_written_in() -> None:
    for message in (Message("user", "Hi"), Message("assistant", "Hello", (5, 7))):
        assert Message.from_dict(json.loads(json.dumps(message.to_dict()))) == message


ANY_TEXT = st.text(st.characters(codec=None), min_size=1)  # lone surrogates and NUL among them


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_a_request_holds_valid_text_alone(content: str, stop: str, model: str) -> None:
    message, sampling = Message("user", f"a{content}"), SamplingParams(stop=(stop,))
    config = RunConfig(model=f"m{model}", sampling=sampling)
    assert (message.content, sampling.stop, config.model) == (
        valid_text(f"a{content}"),
        (valid_text(stop),),
        valid_text(f"m{model}"),
    )
    assert Message.from_dict(message.to_dict()) == message
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict(), ensure_ascii=False).encode())) == config
    assert config.hash == RunConfig(model=config.model, sampling=sampling).hash


def test_the_models_of_the_gears_are_valid_text() -> None:
    half = "m\ud83d\0"
    assert SpeculationConfig.with_model(half).draft_model == "m\ufffd\ufffd"
    assert Tier(model=half, precision=Precision.INT4).model == "m\ufffd\ufffd"


@pytest.mark.parametrize("name", ["max_tokens", "top_k"])
def test_counts_of_many_digits_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        SamplingParams(**{name: 10**400})  # type: ignore[arg-type]


def test_importing_the_engine_waits_for_no_torch() -> None:
    """A first page would wait for it: torch and transformers come with the first request."""
    code = "import sys, engine.public; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
