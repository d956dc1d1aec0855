"""What becomes of a drafted token, as a function of what the model thinks of it."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.generation.sampling import draw, greedy_token, next_token_probabilities
from engine.types import SamplingParams


def accept_or_resample(
    logits: Tensor,
    params: SamplingParams,
    seen: Tensor,
    generator: torch.Generator,
    drafted: int | None = None,
    q: Tensor | None = None,
    *,
    answer_start: int | None = None,
    allowed: Tensor | None = None,
) -> tuple[int, bool]:
    """The next token, and whether it is the drafted one.

    At temperature 0 it is the likeliest token. Otherwise it is distributed as the model's own choice p, whatever was
    drafted (arXiv:2211.17192, theorem 1): a token x drawn from q stands with probability min(1, p(x) / q(x)), and
    else one is drawn from norm(max(0, p − q)).

    Args:
        logits: the model's, fp32 ``[vocab]``, ids that are no token cut off.
        params: how tokens are chosen.
        seen: ids of all tokens before this one, for the penalties.
        generator: of the run.
        drafted: the proposal; ``None`` if there is none.
        q: what it was drawn from, shaped by the same ``params``, fp32 ``[vocab]``; ``None`` for all on one token. It
            may hold what is not allowed.
        answer_start, allowed: as for :func:`~engine.generation.sampling.adjusted`.
    """
    if params.temperature == 0:
        token = greedy_token(logits, params, seen, answer_start, allowed)
        return token, token == drafted
    p = next_token_probabilities(logits, params, seen, answer_start, allowed)
    if drafted is None:
        return draw(p, generator), False
    if q is None:
        q = torch.zeros_like(p)
        q[drafted] = 1.0
    if torch.rand((), generator=generator) * q[drafted] < p[drafted]:
        return drafted, True
    residual = (p - q).clamp_min_(0)
    # nothing is left only where p and q agree but for rounding: then p itself is what is asked for
    return draw(residual if residual.sum() > 0 else p, generator), False
