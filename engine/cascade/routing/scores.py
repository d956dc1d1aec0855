"""The score functions: a number in [0, 1] for "the larger model is needed here".

A prompt whose score is at or above the boundary's threshold is escalated to the larger model. So is one whose score is
not a number, whatever the threshold: what cannot be judged is given to the better model, and counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from engine.cascade.routing.signals import MEAN_LOGPROB, PREFILL_ENTROPY, FeatureTable
from engine.errors import RouterProfileError
from engine.types import NEVER

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MIN_PROMPTS = 40
"""Below this many prompts nothing is learned."""
MIN_OF_EACH = 8
"""Nor with fewer prompts than this of either label."""
REGULARISATION = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""scikit-learn's C, of which cross-validation takes the one with the smallest log loss. Dozens of related signals on a
few hundred prompts ask for less than its default of 1."""
_FOLDS = 5


def escalates(score: Floats, threshold: float) -> Bools:
    """Who is escalated, ``[prompts]``: a score at or above the threshold, and every NaN."""
    return np.isnan(score) | (score >= threshold)


def default_answer_score(table: FeatureTable) -> Floats:
    """What needs no data: 1 − exp(mean log-probability), one minus the geometric mean of the answer's
    token probabilities; ``[answers]``, NaN for an answer without tokens."""
    return 1 - np.exp(np.minimum(table.column(MEAN_LOGPROB), 0.0))


def default_prompt_score(table: FeatureTable) -> Floats:
    """1 − exp(−prefill entropy) where that is known; else ½ for every prompt: without data, nothing in a
    text alone tells which model it needs."""
    entropy = table.column(PREFILL_ENTROPY)
    return np.where(np.isnan(entropy), 0.5, 1 - np.exp(-np.maximum(entropy, 0.0)))


def random_score(prompts: Sequence[str], seed: int = 0) -> Floats:
    """Uniform in [0, 1), the same for the same prompt and seed."""
    digests = (hashlib.sha256(f"{seed}:{prompt}".encode()).digest() for prompt in prompts)
    return np.array([int.from_bytes(digest[:6], "big") / 2**48 for digest in digests], np.float64)


def oracle_score(weak_score: Floats, strong_score: Floats) -> Floats:
    """½ + half of what the large model gains: above ½ where it is better, below where it is worse."""
    return 0.5 + (strong_score - weak_score) / 2


RIGHT = 0.5
"""A score above it counts as a right answer."""


def needs_larger(weak_score: Floats, strong_score: Floats) -> Bools:
    """The label that is learned: the small model's answer is wrong and the large one's right, which is a score above
    one half. That one of two right answers scores somewhat higher is no need of it: an answer that is scored by its
    likeness to the large model's never scores as high.

    Not "small wrong" alone: the best rule compares both models' chances of being right, and a prompt that
    both fail is a large run for nothing (Jitkrittum et al., arXiv:2307.02764).
    """
    return (strong_score > RIGHT) & (weak_score <= RIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticWeights:
    """A logistic model of standardised features, as plain numbers: applying it needs no scikit-learn."""

    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coef: tuple[float, ...]
    """Of each standardised feature, in log-odds per standard deviation."""
    intercept: float

    def __post_init__(self) -> None:
        figures = (*self.mean, *self.scale, *self.coef, self.intercept)
        if not len(self.features) == len(self.mean) == len(self.scale) == len(self.coef):
            raise RouterProfileError("The router's weights and features are not equally many.")
        if not np.isfinite(figures).all() or not all(scale > 0 for scale in self.scale):
            raise RouterProfileError("The router's weights are not finite numbers.")

    def score(self, table: FeatureTable) -> Floats:
        """``[rows]``; NaN where a feature is unknown. A row's score is the same to the last bit in whatever table it
        stands."""
        terms = (table.select(self.features) - self.mean) / self.scale * np.array(self.coef)
        logits = np.full(len(table), self.intercept)
        for column in terms.T:  # a matrix product would add up in an order that depends on the number of rows
            logits += column
        # far beyond what any answer gives, and short of where exp overflows
        score: Floats = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        return score

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "features": list(self.features),
            "mean": list(self.mean),
            "scale": list(self.scale),
            "coef": list(self.coef),
            "intercept": self.intercept,
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            RouterProfileError: the weights do not fit together.
            KeyError, TypeError, ValueError: a value is missing or of another type.
        """
        return cls(
            features=tuple(map(str, tree["features"])),
            mean=tuple(map(float, tree["mean"])),
            scale=tuple(map(float, tree["scale"])),
            coef=tuple(map(float, tree["coef"])),
            intercept=float(tree["intercept"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What came of learning a router."""

    weights: LogisticWeights | None
    """``None``: the score that needs no data is used."""
    reason: str
    """Why nothing was learned; empty where it was."""
    prompts: int
    """That it was learned from."""
    left_out: int
    """Prompts with an unknown feature."""


def learn(table: FeatureTable, label: Bools) -> Learned:
    """Fit a logistic model (L2, its strength by cross-validation) of standardised features.

    Features that are unknown everywhere, or the same everywhere, are dropped; rows with an unknown feature
    are left out. Too few prompts, or hardly any of one label: nothing is learned, and ``reason`` says why.

    Args:
        table: the features, ``[prompts, features]``.
        label: whether the larger model was needed, ``[prompts]``.
    """
    known = np.isfinite(table.values)
    columns = known.any(axis=0)
    rows = known[:, columns].all(axis=1)
    values, needed = table.values[rows][:, columns], label[rows]
    spread = np.ptp(values, axis=0) > 1e-12 if len(values) else np.zeros(values.shape[1], bool)
    reason = _why_not(needed, int(spread.sum()))
    if reason:
        return Learned(weights=None, reason=reason, prompts=len(values), left_out=int((~rows).sum()))

    from sklearn.linear_model import LogisticRegressionCV  # slow to import, and only needed here
    from sklearn.model_selection import StratifiedKFold

    values = values[:, spread]
    mean, scale = values.mean(axis=0), values.std(axis=0)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    model = LogisticRegressionCV(
        Cs=REGULARISATION,
        l1_ratios=(0,),
        cv=folds,
        scoring="neg_log_loss",
        max_iter=1000,
        use_legacy_attributes=False,
    ).fit((values - mean) / scale, needed)
    names = np.array(table.names)[columns][spread]
    weights = LogisticWeights(
        features=tuple(map(str, names)),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        coef=tuple(model.coef_[0].tolist()),
        intercept=float(model.intercept_[0]),
    )
    return Learned(weights=weights, reason="", prompts=len(values), left_out=int((~rows).sum()))


def _why_not(needed: Bools, features: int) -> str:
    positives, prompts = int(needed.sum()), len(needed)
    if prompts < MIN_PROMPTS:
        return f"Only {prompts:,} prompts: learning needs at least {MIN_PROMPTS}."
    if positives == 0:
        return "The larger model was needed for no prompt: there is nothing to tell apart."
    if positives == prompts:
        return "The larger model was needed for every prompt: there is nothing to tell apart."
    if min(positives, prompts - positives) < MIN_OF_EACH:
        which = "needed" if positives < MIN_OF_EACH else "not needed"
        fewer = min(positives, prompts - positives)
        return f"The larger model was {which} for only {fewer} of {prompts:,} prompts: learning needs {MIN_OF_EACH}."
    return "" if features else "No signal differs between the prompts."


@dataclass(frozen=True, slots=True, kw_only=True)
class SureBand:
    """Where a hybrid lets the prompt decide."""

    keep_below: float
    """A prompt that scores lower stays with the small model, unchecked."""
    up_from: float
    """A prompt that scores this or more is escalated at once. In between, the small model tries."""

    def __post_init__(self) -> None:
        if not 0 <= self.keep_below <= self.up_from <= NEVER:
            raise RouterProfileError(f"A sure band from {self.keep_below} to {self.up_from} is none.")


def hybrid_score(prompt_score: Floats, answer_score: Floats, band: SureBand) -> Floats:
    """A hybrid's score, ``[prompts]``.

    Prompts that are escalated at once score 1, prompts that stay unchecked score 0, all others score as their answer.
    """
    at_once = escalates(prompt_score, band.up_from)
    kept = ~at_once & (prompt_score < band.keep_below)
    return np.where(at_once, 1.0, np.where(kept, 0.0, answer_score))


def answering_tier(scores: Floats, thresholds: Sequence[float]) -> npt.NDArray[np.intp]:
    """The tier that answers each prompt: the first whose boundary does not escalate it.

    Args:
        scores: ``[boundaries, prompts]``, from the smallest tier up.
        thresholds: one for each boundary.
    """
    up = np.array([escalates(score, threshold) for score, threshold in zip(scores, thresholds, strict=True)])
    tiers: npt.NDArray[np.intp] = np.logical_and.accumulate(up, axis=0).sum(axis=0)
    return tiers
