"""What fewer bits change: each precision's next-token distributions beside those of the 16-bit model.

The 16-bit model answers prompts greedily. Every precision then reads the same answers, and at each of their
tokens its distribution is held against the 16-bit model's; :mod:`engine.evaluation.divergence` defines the
figures. Beside peers (the decode benchmark) every lane reads one token a step, as it decodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine import Engine, default_corpus, list_models
from engine.backends.local import LocalModel
from engine.cache import KVCache
from engine.evaluation.divergence import DivergenceStats, WindowDivergence, token_divergence
from engine.models.decoders.decoder import Decoder
from engine.serving.memory.pool import ModelPool
from engine.types import CPU_PRECISIONS, Message, OptimizationConfig, Precision, RunConfig
from tests.benchmarks.lanes import SMALL_MODELS
from tests.benchmarks.table import Row
from tests.support.loading import load_model, open_model

ANSWER_TOKENS = 48

Reader = Callable[[Sequence[int], Sequence[int]], Tensor]
"""Prompt and answer to logits, one row before each token of the answer: ``[answer, at least vocab]``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the 16-bit model said, and what it thought."""

    prompt_ids: list[int]
    ids: list[int]
    logits: Tensor
    """fp32 ``[ids, vocab]``."""


def run(models_dir: Path) -> list[Row]:
    """Measure every installed model of the two small ones at every precision."""
    installed = {model.name for model in list_models(models_dir) if model.installed}
    with closing(Engine(models_dir)) as engine:
        return [row for model in SMALL_MODELS if model in installed for row in _measure(engine, model)]


def _measure(engine: Engine, model: str) -> list[Row]:
    windows = engine.windows(model, default_corpus())
    rows: list[Row] = []
    for precision in CPU_PRECISIONS:
        parts = [engine.compare_window(model, precision, window) for window in windows]
        stats = DivergenceStats.from_tokens(WindowDivergence.concatenate(parts))
        rows.append(
            {
                "model": model,
                "precision": str(precision),
                "tokens": stats.tokens,
                "kld_mean": stats.kld_mean,
                "kld_p99": stats.kld_p99,
                "top1_agreement": stats.same_top,
                "ppl_ratio": stats.ppl_ratio,
                "delta_p_rms": stats.delta_p_rms,
            }
        )
    return rows


def divergence(answers: Sequence[Answer], read: Reader) -> DivergenceStats:
    """The figures of a candidate over all answers' tokens."""
    parts = []
    for answer in answers:
        logits = read(answer.prompt_ids, answer.ids)[:, : answer.logits.shape[1]]
        parts.append(token_divergence(answer.logits, logits, torch.tensor(answer.ids)))
    return DivergenceStats.from_tokens(WindowDivergence.concatenate(parts))


def open_decoder(pool: ModelPool, model: str, precision: Precision) -> Decoder:
    """Our own decoder at a precision."""
    config = RunConfig(model=model, optimization=OptimizationConfig.at(precision))
    loaded = load_model(pool, config)
    if not isinstance(loaded, LocalModel):
        raise TypeError(f"{model} was not loaded by Gearbox's own decoder")
    return loaded.decoder


def reader(decoder: Decoder) -> Reader:
    """Reads with the decoder's own step."""

    @torch.inference_mode()
    def read(prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> Tensor:
        cache = decoder.new_cache(len(prompt_ids) + len(answer_ids))
        rows = [_prefill(decoder, prompt_ids, cache)]
        rows += [decoder.step(token_id, cache) for token_id in answer_ids[:-1]]
        return torch.stack(rows)

    return read


@torch.inference_mode()
def answer_prompts(pool: ModelPool, model: str, prompts: Sequence[str]) -> list[Answer]:
    """The 16-bit model's greedy answers, up to an end mark."""
    tokenizer = open_model(pool, model).tokenizer
    decoder = open_decoder(pool, model, Precision.BF16)
    answers = []
    for prompt in prompts:
        prompt_ids = tokenizer.encode_chat([Message("user", prompt)])
        cache = decoder.new_cache(len(prompt_ids) + ANSWER_TOKENS)
        rows = [_prefill(decoder, prompt_ids, cache)[: tokenizer.vocab_size]]
        ids = [int(rows[0].argmax())]
        while len(ids) < ANSWER_TOKENS and ids[-1] not in tokenizer.stop_ids:
            rows.append(decoder.step(ids[-1], cache)[: tokenizer.vocab_size])
            ids.append(int(rows[-1].argmax()))
        answers.append(Answer(prompt_ids, ids, torch.stack(rows)))
    return answers


def _prefill(decoder: Decoder, prompt_ids: Sequence[int], cache: KVCache) -> Tensor:
    logits = decoder.prefill(torch.tensor(prompt_ids), cache, lambda: False)
    if logits is None:
        raise RuntimeError("prefill ended early, though nobody cancelled it")
    return logits
