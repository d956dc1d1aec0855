"""A run in the words of OpenTelemetry's conventions for generative AI; what those lack is under ``gearbox.*``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE

from app.store import EndedRun, RunStatus
from engine.types import RemoteReport

Attributes = dict[str, str | int | float | bool | Sequence[str]]

PROVIDER = "gearbox"
_OTHER = "other"
"""In metrics, models that are folders or hub ids: there may be any number."""


def operation_of(run: EndedRun) -> str:
    """What was asked for."""
    operations = gen_ai.GenAiOperationNameValues
    return operations.CHAT.value if run.messages else operations.TEXT_COMPLETION.value


def answered_by(run: EndedRun) -> str:
    """The model whose answer it is."""
    cascade = run.outcome.cascade
    return run.model if cascade is None else cascade.tier


def span_attributes(run: EndedRun, *, content: bool) -> Attributes:
    """Of a run's span.

    Args:
        run: the run.
        content: whether what was asked and answered is told.
    """
    outcome, metrics, sampling = run.outcome, run.outcome.metrics, run.config.get("sampling", {})
    found: Mapping[str, Any] = {
        gen_ai.GEN_AI_OPERATION_NAME: operation_of(run),
        gen_ai.GEN_AI_PROVIDER_NAME: PROVIDER,
        gen_ai.GEN_AI_REQUEST_MODEL: run.model,
        gen_ai.GEN_AI_RESPONSE_MODEL: answered_by(run),
        gen_ai.GEN_AI_RESPONSE_ID: run.id,
        gen_ai.GEN_AI_RESPONSE_FINISH_REASONS: [outcome.finish_reason] if outcome.finish_reason else None,
        gen_ai.GEN_AI_REQUEST_TEMPERATURE: sampling.get("temperature"),
        gen_ai.GEN_AI_REQUEST_TOP_P: sampling.get("top_p"),
        gen_ai.GEN_AI_REQUEST_TOP_K: sampling.get("top_k"),
        gen_ai.GEN_AI_REQUEST_SEED: sampling.get("seed"),
        gen_ai.GEN_AI_REQUEST_MAX_TOKENS: sampling.get("max_tokens"),
        ERROR_TYPE: error_type(run),
        "gearbox.run.status": str(outcome.status),
        "gearbox.source": run.source and str(run.source),
        "gearbox.precision": run.precision,
        "gearbox.config.hash": run.config_hash,
        "gearbox.disturbed": outcome.disturbance and outcome.disturbance.is_disturbed,
    }
    remote = RemoteReport.of(outcome.environment or {})
    if metrics is not None:
        found = {
            **found,
            gen_ai.GEN_AI_USAGE_INPUT_TOKENS: input_tokens(run),
            gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: metrics.completion_tokens,
            gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: remote.cached_tokens if remote else metrics.cached_tokens,
            gen_ai.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: metrics.ttft_s,
            "gearbox.queue_s": metrics.queue_s,
            "gearbox.load_s": metrics.load_s,
            "gearbox.prefill_s": metrics.prefill_s,
            "gearbox.tpot_s": metrics.tpot_s,
            "gearbox.speculation.drafted_tokens": remote.drafted_tokens if remote else metrics.drafted_tokens,
            "gearbox.speculation.accepted_tokens": remote.accepted_tokens if remote else metrics.accepted_tokens,
            "gearbox.cascade.discarded_tokens": metrics.discarded_tokens,
            "gearbox.batch_size": metrics.mean_batch_size,
        }
    if content:
        found = {**found, **_content(run)}
    return {name: value for name, value in found.items() if value is not None}


def input_tokens(run: EndedRun) -> int | None:
    """Of a run's prompt; ``None`` where a server answered that did not count them."""
    remote, metrics = RemoteReport.of(run.outcome.environment or {}), run.outcome.metrics
    return None if metrics is None or (remote and not remote.prompt_counted) else metrics.prompt_tokens


def metric_attributes(run: EndedRun) -> Attributes:
    """Of a run's figures: few values each."""
    found: Attributes = {
        gen_ai.GEN_AI_OPERATION_NAME: operation_of(run),
        gen_ai.GEN_AI_PROVIDER_NAME: PROVIDER,
        gen_ai.GEN_AI_REQUEST_MODEL: _named(run.model),
        gen_ai.GEN_AI_RESPONSE_MODEL: _named(answered_by(run)),
        "gearbox.source": str(run.source or "unknown"),
    }
    error = error_type(run)
    return found if error is None else {**found, ERROR_TYPE: error}


def error_type(run: EndedRun) -> str | None:
    """The class of what went wrong; ``None`` where nothing did."""
    return (run.outcome.error_kind or "_OTHER") if run.outcome.status is RunStatus.FAILED else None


def _named(model: str) -> str:
    return _OTHER if "/" in model else model


def _content(run: EndedRun) -> Mapping[str, Any]:
    """What was asked and answered, as the conventions' JSON."""

    def part(text: str) -> list[dict[str, str]]:
        return [{"type": "text", "content": text}]

    asked = [{"role": each["role"], "parts": part(each["content"])} for each in run.messages]
    if not asked:
        asked = [{"role": "user", "parts": part(run.prompt)}]
    answered = {
        "role": "assistant",
        "parts": part(run.outcome.text),
        "finish_reason": run.outcome.finish_reason or "error",
    }
    return {
        gen_ai.GEN_AI_INPUT_MESSAGES: json.dumps(asked, ensure_ascii=False),
        gen_ai.GEN_AI_OUTPUT_MESSAGES: json.dumps([answered], ensure_ascii=False),
    }
