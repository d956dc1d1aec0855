"""What fewer bits change: each precision's next-token distributions beside those of the 16-bit model.

The 16-bit model answers the sample prompts greedily. Every precision then reads the same answers,
and at each of their tokens its distribution q is held against the 16-bit model's p:
KLD = Σ p (log p − log q), in nats, and whether both would have taken the same token.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from app.prompts import load_prompts
from engine.backends.local import LocalModel
from engine.models import list_models
from engine.models.decoder import Decoder
from engine.pool import ModelPool
from engine.types import Message, OptimizationConfig, Precision, RunConfig
from tests.benchmarks.decode import MODELS
from tests.benchmarks.table import Row

NEW_TOKENS = 48


@torch.inference_mode()
def run(models_dir: Path) -> list[Row]:
    """Measure every installed model of the two small ones at every precision."""
    installed = {model.name for model in list_models(models_dir) if model.installed}
    return [row for model in MODELS if model in installed for row in _measure(models_dir, model)]


def _measure(models_dir: Path, model: str) -> list[Row]:
    pool = ModelPool(models_dir)
    tokenizer = pool.open(model).tokenizer
    prompts = [tokenizer.encode_chat([Message("user", sample.prompt)]) for sample in load_prompts()]
    reference = _decoder(pool, model, Precision.BF16)
    texts = [(prompt, prompt + _answer(reference, prompt, tokenizer.vocab_size)) for prompt in prompts]
    wanted = [_log_probabilities(reference, *text, tokenizer.vocab_size) for text in texts]
    rows: list[Row] = []
    for precision in Precision:
        decoder = _decoder(pool, model, precision)
        got = [_log_probabilities(decoder, *text, tokenizer.vocab_size) for text in texts]
        kld = torch.cat([(p.exp() * (p - q)).sum(-1) for p, q in zip(wanted, got, strict=True)])
        same = torch.cat([p.argmax(-1) == q.argmax(-1) for p, q in zip(wanted, got, strict=True)])
        rows.append(
            {
                "model": model,
                "precision": str(precision),
                "tokens": len(kld),
                "kld_mean": float(kld.mean()),
                "kld_p99": float(kld.quantile(0.99)),
                "top1_agreement": float(same.float().mean()),
            }
        )
    return rows


def _decoder(pool: ModelPool, model: str, precision: Precision) -> Decoder:
    config = RunConfig(model=model, optimization=OptimizationConfig.at(precision))
    loaded = pool.acquire(pool.open(model), config, lambda stage, fraction: None)
    if not isinstance(loaded, LocalModel):
        raise TypeError(f"{model} was not loaded by Gearbox's own decoder")
    return loaded.decoder


def _answer(decoder: Decoder, prompt: list[int], vocab_size: int) -> list[int]:
    cache = decoder.new_cache(len(prompt) + NEW_TOKENS)
    logits = decoder.prefill(torch.tensor(prompt), cache, lambda: False)
    answer: list[int] = []
    while logits is not None and len(answer) < NEW_TOKENS:
        answer.append(int(logits[:vocab_size].argmax()))
        logits = decoder.step(answer[-1], cache)
    return answer


def _log_probabilities(decoder: Decoder, prompt: list[int], text: list[int], vocab_size: int) -> Tensor:
    """Log-probabilities at each token of the answer, ``[tokens, vocab]``."""
    hidden = decoder.forward(torch.tensor(text[:-1]), decoder.new_cache(len(text)))
    return decoder.logits(hidden[len(prompt) - 1 :])[:, :vocab_size].log_softmax(-1)
