"""What of a configuration vLLM can be told, and what is said of the rest."""

from __future__ import annotations

import json
import shlex

from app.configurations.vllm import VllmCommand, vllm_command
from engine.types import (
    CacheMode,
    CascadeConfig,
    Drafter,
    KVDtype,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
)


def command(
    gears: OptimizationConfig | None = None, sampling: SamplingParams | None = None, model: str = "m"
) -> VllmCommand:
    config = RunConfig(model=model, optimization=gears or OptimizationConfig(), sampling=sampling or SamplingParams())
    return vllm_command(config, where=lambda name: f"/models/{name}", context_length=4096)


def value_of(found: VllmCommand, flag: str) -> str:
    return found.arguments[found.arguments.index(flag) + 1]


def test_a_plain_configuration_has_a_counterpart_for_all_of_it() -> None:
    found = command(model="it's")
    assert (found.differs, found.without) == ((), ())
    assert shlex.split(found.line)[:3] == ["vllm", "serve", "/models/it's"]
    assert value_of(found, "--served-model-name") == "it's"
    assert value_of(found, "--dtype") == "bfloat16"
    assert value_of(found, "--max-model-len") == "4096"
    assert "--no-enable-prefix-caching" in found.arguments
    assert json.loads(value_of(found, "--override-generation-config"))["temperature"] == 0.0


def test_gears_with_a_counterpart_are_flags() -> None:
    drafting = SpeculationConfig(drafter=Drafter.NGRAM, gamma=6)
    found = command(OptimizationConfig.at(Precision.NF4, CacheMode.PREFIX, KVDtype.INT8, None, drafting))
    assert "--enable-prefix-caching" in found.arguments
    assert value_of(found, "--quantization") == "bitsandbytes"
    assert value_of(found, "--kv-cache-dtype") == "int8_per_token_head"
    assert json.loads(value_of(found, "--speculative-config")) == {
        "method": "ngram", "prompt_lookup_max": 4, "num_speculative_tokens": 6,
    }  # fmt: skip
    assert found.without == ()
    assert len(found.differs) == 4


def test_a_drafting_model_is_named_by_its_folder_and_a_free_gamma_is_said_to_be_fixed() -> None:
    found = command(OptimizationConfig.at(Precision.BF16, speculation=SpeculationConfig.with_model("small")))
    assert json.loads(value_of(found, "--speculative-config")) == {
        "method": "draft_model", "model": "/models/small", "num_speculative_tokens": 4,
    }  # fmt: skip
    assert "int4 weights of the drafter" in found.without[0]
    assert "γ is 4" in found.differs[0]


def test_what_has_no_counterpart_is_named_and_no_flag_pretends_it() -> None:
    cascade = CascadeConfig(smaller=(Tier(model="small", precision=Precision.INT4),), thresholds=(0.3,))
    gears = OptimizationConfig.at(
        Precision.INT4, CacheMode.KV, KVDtype.BF16, 512, SpeculationConfig.with_self(Precision.NF4), cascade
    )
    found = command(gears)
    assert "--quantization" not in found.arguments
    assert "--speculative-config" not in found.arguments
    told = "\n".join(found.without)
    assert all(part in told for part in ("int4 weights", "512 tokens", "its own drafter", "small@int4"))


def test_settings_of_single_requests_are_given_as_fields_of_a_call() -> None:
    sampling = SamplingParams(
        stop=("x",),
        seed=4,
        logit_bias=((3, 1.0),),
        json_schema='{"type":"object"}',
        top_k=9,
        top_logprobs=2,
        max_tokens=7,
    )
    found = command(sampling=sampling)
    assert found.per_request == {
        "seed": 4,
        "max_tokens": 7,
        "logprobs": True,
        "top_logprobs": 2,
        "stop": ["x"],
        "logit_bias": {"3": 1.0},
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}},
    }
    defaults = json.loads(value_of(found, "--override-generation-config"))
    assert (defaults["top_k"], "max_new_tokens" in defaults) == (9, False)
