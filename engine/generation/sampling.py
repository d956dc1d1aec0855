"""Choosing the next token from logits, as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.types import SamplingParams


def apply_repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """CTRL's penalty (arXiv:1909.05858): what was seen gets smaller positive, larger negative logits.

    Args:
        logits: fp32 ``[vocab]``.
        seen: int64 ids, repeats allowed.
        penalty: above 1 discourages.
    """
    scores = logits[seen]
    return logits.scatter(0, seen, torch.where(scores > 0, scores / penalty, scores * penalty))


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """All but the k largest become −inf; ties with the k-th stay. ``[vocab]``."""
    if k >= logits.shape[-1]:
        return logits
    return logits.masked_fill(logits < logits.topk(k).values[-1], -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Nucleus sampling (arXiv:1904.09751): the smallest set whose probabilities reach p. ``[vocab]``."""
    ordered, order = logits.sort(descending=True)
    probabilities = ordered.softmax(-1)
    # a token is dropped when those before it reach p already, so the first always stays
    dropped = probabilities.cumsum(-1) - probabilities >= p
    return logits.masked_fill(torch.zeros_like(dropped).scatter(0, order, dropped), -torch.inf)


def next_token_probabilities(logits: Tensor, params: SamplingParams, seen: Tensor) -> Tensor:
    """The distribution that is sampled from, fp32 ``[vocab]``: penalty, temperature, top-k, top-p."""
    logits = _penalized(logits, params, seen)
    # the largest moved to 0 first: a tiny temperature then sharpens instead of overflowing
    logits = (logits - logits.max()) / params.temperature
    if params.top_k:
        logits = keep_top_k(logits, params.top_k)
    if params.top_p < 1:
        logits = keep_top_p(logits, params.top_p)
    return logits.softmax(-1)


def greedy_token(logits: Tensor, params: SamplingParams, seen: Tensor) -> int:
    """The likeliest token's id; of equals the first.

    Args:
        logits: fp32 ``[vocab]``, ids that are no token cut off.
        params: for the repetition penalty.
        seen: ids of all tokens before this one.
    """
    return int(_penalized(logits, params, seen).argmax())


def draw(weights: Tensor, generator: torch.Generator) -> int:
    """One id out of fp32 ``[vocab]``, as likely as its weight says."""
    return int(torch.multinomial(weights, 1, generator=generator))


def _penalized(logits: Tensor, params: SamplingParams, seen: Tensor) -> Tensor:
    if params.repetition_penalty == 1 or not len(seen):
        return logits
    return apply_repetition_penalty(logits, seen, params.repetition_penalty)
