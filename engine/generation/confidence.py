"""How sure a model was of a token, and how close the call."""

from __future__ import annotations

import math

from torch import Tensor

from engine.generation.choice import Confidence
from engine.native.kernels import library

NEAR_TIE_ULPS = 2
"""Two best logits so close, in units in the last place of bf16, may change places with the order of additions."""


def confidence(logits: Tensor, token_id: int) -> Confidence:
    """Of a token out of fp32 logits ``[vocab]``, before temperature, penalty and cuts."""
    if kernels := library():
        log_z, entropy, best, second = kernels.summarize(logits)
    else:
        z = logits.logsumexp(-1)
        probabilities = (logits - z).exp_()
        # H = log Z − Σ p·logit; a masked logit of −inf has p = 0 and must not become nan
        entropy = float(z - (probabilities * logits.nan_to_num(neginf=0.0)).sum())
        log_z = float(z)
        best, second = logits.topk(2).values.tolist()
    return Confidence(
        float(logits[token_id]) - log_z, entropy if entropy > 0 or math.isnan(entropy) else 0.0, best - second
    )


def likeliest(logits: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """The likeliest tokens of fp32 logits ``[vocab]`` with their log-probabilities, the likeliest first, of equals the
    first. Fewer where there are not so many that are possible, none where the logits are no numbers."""
    if not count:
        return ()
    kernels = library()
    log_z = kernels.summarize(logits)[0] if kernels else float(logits.logsumexp(-1))
    if math.isnan(log_z):
        return ()
    least = logits.topk(min(count, len(logits))).values[-1]
    ids = (logits >= least).nonzero()[:, 0]  # all equals of the last one, in order
    values, order = logits[ids].sort(descending=True, stable=True)
    pairs = zip(ids[order].tolist(), values.tolist(), strict=True)
    return tuple((token_id, value - log_z) for token_id, value in pairs if value > -math.inf)[:count]


def bf16_ulp(value: float) -> float:
    """One unit in the last place of a bf16 number of that size."""
    return float(2.0 ** (math.frexp(value)[1] - 1 - 7))


def is_near_tie(margin: float, best: float) -> bool:
    """Whether a sum in another order might choose another token.

    Args:
        margin: largest logit minus the second largest.
        best: the largest.
    """
    return margin <= NEAR_TIE_ULPS * bf16_ulp(best)
