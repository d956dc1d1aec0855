"""Choosing the next token from logits, as pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence

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


def apply_answer_penalties(logits: Tensor, answer: Tensor, frequency: float, presence: float) -> Tensor:
    """OpenAI's penalties: what stands in the answer n times loses n · frequency + presence. ``[vocab]``.

    Args:
        logits: fp32 ``[vocab]``.
        answer: int64 ids of the answer so far.
        frequency: above 0 discourages.
        presence: above 0 discourages.
    """
    ids, counts = answer.unique(return_counts=True)
    return logits.scatter(0, ids, logits[ids] - (frequency * counts.float() + presence))


def apply_bias(logits: Tensor, biases: Sequence[tuple[int, float]]) -> Tensor:
    """What was asked for is added to the logits of some ids, each named once. ``[vocab]``."""
    ids, added = zip(*biases, strict=True)
    return logits.index_add(0, torch.tensor(ids), torch.tensor(added))


def keep_allowed(logits: Tensor, allowed: Tensor) -> Tensor:
    """What is not allowed becomes −inf. ``[vocab]``.

    Args:
        logits: fp32 ``[vocab]``.
        allowed: int32, a bit for each id, the lowest first; what it has no bit for is not allowed.
    """
    bits = ((allowed[:, None] >> torch.arange(32)) & 1).flatten()[: len(logits)] == 1
    kept = logits.new_full(logits.shape, -torch.inf)
    kept[: len(bits)] = logits[: len(bits)].masked_fill(~bits, -torch.inf)
    return kept


def adjusted(
    logits: Tensor, params: SamplingParams, seen: Tensor, answer_start: int | None = None, allowed: Tensor | None = None
) -> Tensor:
    """What is chosen by, fp32 ``[vocab]``: the logits after penalties, biases and what is forbidden.

    Args:
        logits: fp32 ``[vocab]``, ids that are no token cut off.
        params: how tokens are chosen.
        seen: int64 ids of all tokens before this one.
        answer_start: where in them the answer begins; ``None`` before it does.
        allowed: as for :func:`keep_allowed`; ``None`` where all tokens are.
    """
    if params.repetition_penalty != 1 and len(seen):
        logits = apply_repetition_penalty(logits, seen, params.repetition_penalty)
    if answer_start is not None and (params.frequency_penalty or params.presence_penalty):
        answer = seen[answer_start:]
        logits = apply_answer_penalties(logits, answer, params.frequency_penalty, params.presence_penalty)
    if params.logit_bias:
        logits = apply_bias(logits, params.logit_bias)
    return logits if allowed is None else keep_allowed(logits, allowed)


def next_token_probabilities(
    logits: Tensor, params: SamplingParams, seen: Tensor, answer_start: int | None = None, allowed: Tensor | None = None
) -> Tensor:
    """The distribution that is sampled from, fp32 ``[vocab]``: adjusted, then temperature, top-k, top-p.

    Args:
        logits, params, seen, answer_start, allowed: as for :func:`adjusted`.
    """
    logits = adjusted(logits, params, seen, answer_start, allowed)
    # the largest moved to 0 first: a tiny temperature then sharpens instead of overflowing
    logits = (logits - logits.max()) / params.temperature
    if params.top_k:
        logits = keep_top_k(logits, params.top_k)
    if params.top_p < 1:
        logits = keep_top_p(logits, params.top_p)
    return logits.softmax(-1)


def greedy_token(
    logits: Tensor, params: SamplingParams, seen: Tensor, answer_start: int | None = None, allowed: Tensor | None = None
) -> int:
    """The likeliest token's id; of equals the first.

    Args:
        logits, params, seen, answer_start, allowed: as for :func:`adjusted`.
    """
    return int(adjusted(logits, params, seen, answer_start, allowed).argmax())


def draw(weights: Tensor, generator: torch.Generator) -> int:
    """One id out of fp32 ``[vocab]``, as likely as its weight says."""
    return int(torch.multinomial(weights, 1, generator=generator))
