"""Divergence against the same figures computed independently in float64."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from engine.errors import NonFiniteLogitsError
from engine.evaluation import DivergenceStats, WindowDivergence
from engine.evaluation.divergence import token_divergence

Array = npt.NDArray[np.float64]


def some_logits(rows: int, vocab: int, noise: float) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Reference and candidate logits, float32 values, and targets."""
    random = np.random.default_rng(7)
    reference = random.normal(0, 4, (rows, vocab)).astype(np.float32)
    candidate = reference + random.normal(0, noise, (rows, vocab)).astype(np.float32)
    return reference.astype(np.float64), candidate.astype(np.float64), random.integers(0, vocab, rows)


def measured(reference: Array, candidate: Array, targets: npt.NDArray[np.int64]) -> WindowDivergence:
    as_float32 = [torch.tensor(table, dtype=torch.float32) for table in (reference, candidate)]
    return token_divergence(*as_float32, torch.tensor(targets))


@pytest.mark.parametrize(("rows", "vocab", "noise"), [(1, 5, 1.0), (37, 1000, 0.3), (64, 300, 3.0)])
def test_tokens_and_statistics_equal_an_independent_float64_computation(rows: int, vocab: int, noise: float) -> None:
    reference, candidate, targets = some_logits(rows, vocab, noise)
    # written out row by row on purpose, sharing nothing with the engine
    kld, delta, same, nll_p, nll_q = [], [], [], [], []
    for p_logits, q_logits, target in zip(reference, candidate, targets, strict=True):
        p, q = np.exp(p_logits - p_logits.max()), np.exp(q_logits - q_logits.max())
        p, q = p / p.sum(), q / q.sum()
        kld.append(math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        delta.append(q[target] - p[target])
        same.append(int(p.argmax()) == int(q.argmax()))
        nll_p.append(-math.log(p[target]))
        nll_q.append(-math.log(q[target]))
    tokens = measured(reference, candidate, targets)
    assert len(tokens) == rows
    assert tokens.kld == pytest.approx(np.array(kld), rel=1e-6, abs=1e-9)
    assert tokens.delta_p == pytest.approx(np.array(delta), rel=1e-6, abs=1e-9)
    assert tokens.same_top.tolist() == same
    assert tokens.nll_ref == pytest.approx(np.array(nll_p), rel=1e-6)
    assert tokens.nll_cand == pytest.approx(np.array(nll_q), rel=1e-6)
    if rows == 1:
        return
    stats = DivergenceStats.from_tokens(tokens)
    n = rows
    ppl_p, ppl_q = math.exp(math.fsum(nll_p) / n), math.exp(math.fsum(nll_q) / n)
    covariance = np.cov(nll_q, nll_p, ddof=1) / n  # of the two means
    ratio_se = ppl_q / ppl_p * math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    squares = [d * d for d in delta]
    rms = math.sqrt(math.fsum(squares) / n)
    ordered = sorted(kld)
    at = 0.99 * (n - 1)
    below = math.floor(at)
    expected = {
        "tokens": n,
        "kld_mean": math.fsum(kld) / n,
        "kld_mean_se": np.std(kld, ddof=1) / math.sqrt(n),
        "kld_median": (ordered[(n - 1) // 2] + ordered[n // 2]) / 2,
        "kld_p99": ordered[below] + (at - below) * (ordered[min(below + 1, n - 1)] - ordered[below]),
        "kld_max": max(kld),
        "same_top": sum(same) / n,
        "same_top_se": math.sqrt(sum(same) / n * (1 - sum(same) / n) / (n - 1)),
        "delta_p_mean": math.fsum(delta) / n,
        "delta_p_rms": rms,
        "delta_p_rms_se": np.std(squares, ddof=1) / math.sqrt(n) / (2 * rms),
        "ppl_ref": ppl_p,
        "ppl_cand": ppl_q,
        "ppl_ratio": ppl_q / ppl_p,
        "ppl_ratio_se": ratio_se,
    }
    assert stats.to_dict() == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_a_model_does_not_diverge_from_itself() -> None:
    reference, _, targets = some_logits(40, 500, 0.0)
    stats = DivergenceStats.from_tokens(measured(reference, reference, targets))
    assert (stats.kld_max, stats.delta_p_rms, stats.delta_p_rms_se, stats.ppl_ratio_se) == (0, 0, 0, 0)
    assert (stats.same_top, stats.ppl_ratio) == (1, 1)


def test_logits_moved_by_a_constant_are_the_same_distribution() -> None:
    reference, candidate, targets = some_logits(20, 200, 0.5)
    plain, moved = measured(reference, candidate, targets), measured(reference, candidate + 16, targets)
    assert moved.kld == pytest.approx(plain.kld, rel=1e-4, abs=1e-6)


def test_a_certain_model_against_an_opposite_one_stays_finite() -> None:
    reference, candidate = np.zeros((1, 4)), np.zeros((1, 4))
    reference[0, 0], candidate[0, 1] = 2000.0, 2000.0
    tokens = measured(reference, candidate, np.array([0]))
    assert tokens.kld[0] == pytest.approx(2000)
    assert tokens.delta_p[0] == pytest.approx(-1)
    assert not tokens.same_top[0]


def test_parts_make_the_whole() -> None:
    reference, candidate, targets = some_logits(50, 100, 1.0)
    cut = 23
    parts = [measured(a[s], b[s], t[s]) for a, b, t in [(reference, candidate, targets)] for s in _halves(cut)]
    whole = measured(reference, candidate, targets)
    assert DivergenceStats.from_tokens(WindowDivergence.concatenate(parts)) == DivergenceStats.from_tokens(whole)


def _halves(cut: int) -> tuple[slice, slice]:
    return slice(0, cut), slice(cut, None)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("whose", ["16-bit", "candidate"])
def test_a_logit_that_is_no_number_is_an_error_and_no_statistic(broken: float, whose: str) -> None:
    reference, candidate, targets = some_logits(20, 50, 1.0)
    (reference if whose == "16-bit" else candidate)[18, 3] = broken
    with pytest.raises(NonFiniteLogitsError, match=whose):
        measured(reference, candidate, targets)


def test_one_token_has_no_standard_error() -> None:
    stats = DivergenceStats.from_tokens(measured(*some_logits(1, 10, 1.0)))
    assert stats.kld_mean == stats.kld_max > 0
    assert (stats.kld_mean_se, stats.ppl_ratio_se, stats.same_top_se) == (0, 0, 0)


def test_no_tokens_no_statistics() -> None:
    tokens = measured(*some_logits(1, 10, 1.0))
    empty = WindowDivergence(
        kld=tokens.kld[:0], delta_p=tokens.delta_p[:0], same_top=tokens.same_top[:0],
        nll_ref=tokens.nll_ref[:0], nll_cand=tokens.nll_cand[:0],
    )  # fmt: skip
    with pytest.raises(ValueError, match="at least one"):
        DivergenceStats.from_tokens(empty)
