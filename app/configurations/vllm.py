"""A configuration as the command line of vLLM that comes nearest, and what has no counterpart there.

Flags are those of ``vllm serve`` 0.11 and later: https://docs.vllm.ai/en/latest/cli/serve/
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from engine.types import (
    Backend,
    CacheMode,
    Drafter,
    KVDtype,
    Precision,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
)

_GAMMA = 4
"""Tokens drafted where Gearbox's controller chooses: vLLM needs a number."""
_LOOKUP = 4
"""The longest n-gram that vLLM looks for; Gearbox's drafter matches any length."""
_DEFAULTS = ("temperature", "top_p", "top_k", "repetition_penalty")
"""Sampling settings that a server has defaults for. Its ``max_new_tokens`` is none: it caps every request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmCommand:
    """What ``vllm serve`` takes of a configuration."""

    arguments: tuple[str, ...]
    """After ``vllm serve``: the model, then flags with their values."""
    differs: tuple[str, ...]
    """Flags that do not do quite the same, a sentence each."""
    without: tuple[str, ...]
    """What has no counterpart, a sentence each."""
    per_request: dict[str, Any]
    """Fields that requests have to say, for a server has no default for them."""

    @property
    def line(self) -> str:
        """The command for a shell."""
        return shlex.join(["vllm", "serve", *self.arguments])


def vllm_command(
    config: RunConfig, *, where: Callable[[str], str] = str, context_length: int | None = None
) -> VllmCommand:
    """The nearest command line.

    Args:
        config: the configuration.
        where: a model's folder or hub id, by its name here.
        context_length: of the model, in tokens; ``None`` leaves it to vLLM.
    """
    model = where(config.model)
    flags = [model, "--dtype", "bfloat16"]
    if model != config.model:
        flags += ["--served-model-name", config.model]
    if context_length:
        flags += ["--max-model-len", str(context_length)]
    differs: list[str] = []
    without: list[str] = []
    for part in (_weights, _cache, _speculation, _cascade, _backend):
        part(config, where, flags, differs, without)
    per_request = _sampling(config.sampling, flags)
    return VllmCommand(arguments=tuple(flags), differs=tuple(differs), without=tuple(without), per_request=per_request)


_Part = list[str]


def _weights(config: RunConfig, _where: Callable[[str], str], flags: _Part, differs: _Part, without: _Part) -> None:
    match config.precision:
        case Precision.BF16:
            pass
        case Precision.UNKNOWN:
            differs.append(f"What {config.model} is held in is not known here: vLLM takes what the checkpoint says.")
        case Precision.NF4:
            flags += ["--quantization", "bitsandbytes"]
            differs.append("vLLM quantizes to nf4 on GPUs alone, and compresses the scales too.")
        case Precision.LLM_INT8:
            without.append("LLM.int8(): vLLM reads such a checkpoint and makes none while loading. It serves 16 bits.")
        case _:
            without.append(
                f"{config.precision} weights in Gearbox's own layout: vLLM takes a checkpoint that was quantized "
                "before (AWQ, GPTQ, or compressed-tensors by llm-compressor). It serves 16 bits."
            )


def _cache(config: RunConfig, _where: Callable[[str], str], flags: _Part, differs: _Part, without: _Part) -> None:
    gears = config.optimization
    flags.append("--enable-prefix-caching" if gears.cache_mode is CacheMode.PREFIX else "--no-enable-prefix-caching")
    if gears.cache_mode is CacheMode.PREFIX:
        differs.append("vLLM reuses whole blocks of 16 tokens, of anybody's requests; here single tokens, by session.")
    if gears.cache_mode is CacheMode.OFF:
        without.append("No KV cache at all: vLLM always keeps KV within a request.")
    if gears.kv_dtype is KVDtype.INT8:
        flags += ["--kv-cache-dtype", "int8_per_token_head"]
        differs.append("KV in 8 bits needs a vLLM that knows int8_per_token_head; older ones have fp8.")
    if gears.window is not None:
        without.append(
            f"The sliding window of {gears.window:,} tokens: vLLM has only the window a model was made with."
        )


def _speculation(config: RunConfig, where: Callable[[str], str], flags: _Part, differs: _Part, without: _Part) -> None:
    drafting = config.optimization.speculation
    if drafting is None or drafting.gamma == 0:
        return
    match drafting.drafter:
        case Drafter.NGRAM:
            how = {"method": "ngram", "prompt_lookup_max": _LOOKUP}
            differs.append(f"vLLM looks for n-grams of up to {_LOOKUP} tokens in the same request; here of any length.")
        case Drafter.DRAFT if drafting.draft_model:
            how = {"method": "draft_model", "model": where(drafting.draft_model), **_draft_weights(drafting, without)}
        case Drafter.SELF:
            without.append("A copy of the model in 4 bits as its own drafter.")
            return
        case _:
            without.append("The drafter that is chosen step by step: vLLM has one, such as n-grams, for all of them.")
            return
    if drafting.gamma is None:
        differs.append(
            f"γ is {_GAMMA} there for good; here the controller chooses it, and pauses where it does not pay."
        )
    flags += ["--speculative-config", json.dumps({**how, "num_speculative_tokens": drafting.gamma or _GAMMA})]


def _draft_weights(drafting: SpeculationConfig, without: _Part) -> dict[str, str]:
    if drafting.draft_precision is Precision.NF4:
        return {"quantization": "bitsandbytes"}
    if drafting.draft_precision is not Precision.BF16:
        without.append(f"{drafting.draft_precision} weights of the drafter: it drafts in 16 bits.")
    return {}


def _cascade(config: RunConfig, _where: Callable[[str], str], _flags: _Part, _differs: _Part, without: _Part) -> None:
    if cascade := config.optimization.cascade:
        smaller = ", ".join(tier.key for tier in cascade.smaller)
        without.append(
            f"The cascade ({smaller} in front, router {cascade.router}): vLLM serves one model. Serve each tier, and "
            "let a gateway choose."
        )


def _backend(config: RunConfig, _where: Callable[[str], str], _flags: _Part, differs: _Part, _without: _Part) -> None:
    if config.backend is Backend.REFERENCE:
        differs.append("The reference is transformers' own generate; vLLM computes with kernels of its own.")
    if config.backend is Backend.REMOTE:
        differs.append(f"{config.model} is a server's model already: name its checkpoint here.")


def _sampling(sampling: SamplingParams, flags: _Part) -> dict[str, Any]:
    """Set what a server has defaults for; the rest."""
    defaults = {name: getattr(sampling, name) for name in _DEFAULTS}
    flags += ["--generation-config", "vllm", "--override-generation-config", json.dumps(defaults)]
    usual = SamplingParams()
    changed = {
        each.name: getattr(sampling, each.name)
        for each in fields(sampling)
        if each.name not in _DEFAULTS and getattr(sampling, each.name) != getattr(usual, each.name)
    }
    fixed: dict[str, Any] = {"seed": sampling.seed, "max_tokens": sampling.max_tokens}
    if sampling.top_logprobs:
        fixed["logprobs"] = True  # without it a server refuses how many
    return fixed | {_IN_A_CALL.get(name, name): _as_said(name, each) for name, each in changed.items()}


_IN_A_CALL = {"json_schema": "response_format"}


def _as_said(name: str, value: Any) -> Any:
    match name:
        case "json_schema":
            return {"type": "json_schema", "json_schema": {"name": "answer", "schema": json.loads(value)}}
        case "logit_bias":
            return {str(token_id): bias for token_id, bias in value}
        case "stop":
            return list(value)
        case _:
            return value
