"""How far a candidate's next-token distributions are from the 16-bit model's.

The definitions are those of llama.cpp's ``llama-perplexity --kl-divergence``: p is the reference
(the 16-bit model), q the candidate, and each figure is taken at the actual next token of a text that
both models read. Logits are reduced to five numbers a token at once and never kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from engine.errors import NonFiniteLogitsError

if TYPE_CHECKING:
    from torch import Tensor

ROWS_AT_ONCE = 16
"""Rows whose probabilities are held at a time: 20 MB a model at a vocabulary of 150,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowDivergence:
    """Per-token figures of one scored text, each an array ``[tokens]``."""

    kld: npt.NDArray[np.float32]
    """Σ p (log p − log q) over the vocabulary, in nats."""
    delta_p: npt.NDArray[np.float32]
    """q − p of the actual next token, −1 to 1."""
    same_top: npt.NDArray[np.bool_]
    """Whether both hold the same token for the likeliest."""
    nll_ref: npt.NDArray[np.float32]
    """−log p of the actual next token, in nats."""
    nll_cand: npt.NDArray[np.float32]
    """−log q of the actual next token, in nats."""

    def __len__(self) -> int:
        """How many tokens were scored."""
        return len(self.kld)

    @classmethod
    def concatenate(cls, parts: Sequence[WindowDivergence]) -> Self:
        """Several texts' tokens as one. Needs at least one part."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class DivergenceStats:
    """What the tokens of a whole corpus say of a candidate. ``_se`` is one standard error."""

    tokens: int
    kld_mean: float
    kld_mean_se: float
    kld_median: float
    kld_p99: float
    kld_max: float
    same_top: float
    """Top-1 agreement, 0 to 1: the share of tokens at which both models' likeliest token is the same."""
    same_top_se: float
    delta_p_mean: float
    delta_p_rms: float
    """Root of the mean squared Δp, 0 to 1."""
    delta_p_rms_se: float
    ppl_ref: float
    ppl_cand: float
    ppl_ratio: float
    """Candidate's perplexity / reference's."""
    ppl_ratio_se: float
    """With the covariance of the two log-perplexities, which share their tokens."""

    @classmethod
    def from_tokens(cls, tokens: WindowDivergence) -> Self:
        """Sum up per-token figures; sums run in float64. Standard errors are 0 for a single token.

        Raises:
            ValueError: there are no tokens.
        """
        if not len(tokens):
            raise ValueError("a divergence needs at least one scored token")
        kld, delta_p = tokens.kld.astype(np.float64), tokens.delta_p.astype(np.float64)
        ref, cand = tokens.nll_ref.astype(np.float64), tokens.nll_cand.astype(np.float64)
        same_top = float(tokens.same_top.mean())
        rms = float(np.sqrt(np.mean(delta_p**2)))
        # var(log ratio) = var(cand) + var(ref) − 2 cov, which is the variance of the difference
        ratio = float(np.exp(np.mean(cand - ref)))
        return cls(
            tokens=len(tokens),
            kld_mean=float(kld.mean()),
            kld_mean_se=_standard_error(kld),
            kld_median=float(np.median(kld)),
            kld_p99=float(np.quantile(kld, 0.99)),
            kld_max=float(kld.max()),
            same_top=same_top,
            same_top_se=_standard_error(tokens.same_top.astype(np.float64)),
            delta_p_mean=float(delta_p.mean()),
            delta_p_rms=rms,
            delta_p_rms_se=_standard_error(delta_p**2) / (2 * rms) if rms else 0.0,
            ppl_ref=float(np.exp(ref.mean())),
            ppl_cand=float(np.exp(cand.mean())),
            ppl_ratio=ratio,
            ppl_ratio_se=ratio * _standard_error(cand - ref),
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def token_divergence(ref_logits: Tensor, cand_logits: Tensor, targets: Tensor) -> WindowDivergence:
    """The per-token figures of some rows of logits.

    Args:
        ref_logits: the 16-bit model's, ``[rows, vocab]``, ids that are no token cut off.
        cand_logits: the candidate's, ``[rows, vocab]``.
        targets: the actual next tokens, int64 ``[rows]``.

    Raises:
        NonFiniteLogitsError: a logit is NaN or infinite.
    """
    parts = [
        _rows_divergence(*rows)
        for rows in zip(
            ref_logits.split(ROWS_AT_ONCE),
            cand_logits.split(ROWS_AT_ONCE),
            targets.split(ROWS_AT_ONCE),
            strict=True,
        )
    ]
    return WindowDivergence.concatenate(parts)


def _rows_divergence(ref_logits: Tensor, cand_logits: Tensor, targets: Tensor) -> WindowDivergence:
    _require_finite(ref_logits, "16-bit")
    _require_finite(cand_logits, "candidate")
    log_p, log_q = ref_logits.double().log_softmax(-1), cand_logits.double().log_softmax(-1)
    log_p_target, log_q_target = (table.gather(-1, targets[:, None])[:, 0] for table in (log_p, log_q))
    figures = {
        "kld": (log_p.exp() * (log_p - log_q)).sum(-1).float(),
        "delta_p": (log_q_target.exp() - log_p_target.exp()).float(),
        "same_top": ref_logits.argmax(-1) == cand_logits.argmax(-1),
        "nll_ref": -log_p_target.float(),
        "nll_cand": -log_q_target.float(),
    }
    return WindowDivergence(**{name: figure.cpu().numpy() for name, figure in figures.items()})


def _require_finite(logits: Tensor, whose: str) -> None:
    """Refuse logits that no statistics can be made of.

    Raises:
        NonFiniteLogitsError: one of ``logits [rows, vocab]`` is NaN or infinite.
    """
    broken = ~logits.isfinite().all(dim=-1)
    if bool(broken.any()):
        raise NonFiniteLogitsError(
            f"The {whose} model gives logits that are not finite numbers (NaN or infinity) at {int(broken.sum())} of "
            f"{len(logits)} tokens: its weights or its kernel are broken, and no figure can be given for it."
        )


def _standard_error(values: npt.NDArray[np.float64]) -> float:
    """Of the mean; sample standard deviation / √n."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
