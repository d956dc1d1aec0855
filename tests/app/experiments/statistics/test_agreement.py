"""A judge's audit: Cohen's κ as published and covered, flips by position, preferences by length."""

from __future__ import annotations

import numpy as np
import pytest

from app.experiments.statistics import agreement, length_bias, position_flips


def labels(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Two raters' labels with these counts."""
    rows, columns = np.indices(np.shape(table))
    counts = np.ravel(table)
    return np.repeat(rows.ravel(), counts), np.repeat(columns.ravel(), counts)


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        # Cohen, Educ. Psychol. Meas. 20 (1960), table 1, in 200 cases
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], 0.492),
        # by hand: agreement 0.7, chance 0.5
        ([[20, 5], [10, 15]], 0.4),
        ([[25, 0], [0, 25]], 1.0),
        ([[0, 25], [25, 0]], -1.0),
    ],
)
def test_kappa(table: list[list[int]], kappa: float) -> None:
    found = agreement(*labels(table))
    assert found.kappa == pytest.approx(kappa, abs=5e-4)
    assert found.kappa_interval is not None
    assert found.kappa in found.kappa_interval
    assert found.kappa_interval.low < found.kappa_interval.high


def test_kappa_is_bounded_by_the_standard_error_of_fleiss() -> None:
    """Fleiss, Cohen and Everitt (Psychol. Bull. 72, 1969) give 0.054 for these counts in large samples."""
    table = np.array([[88, 14, 18], [10, 40, 10], [2, 6, 12]]) / 200
    rows, columns, n = table.sum(1), table.sum(0), 200
    agreed, chance = np.trace(table), float(rows @ columns)
    inner = sum(
        table[i, j] * ((1 - chance) * (i == j) - (columns[i] + rows[j]) * (1 - agreed)) ** 2
        for i in range(3)
        for j in range(3)
    )
    error = np.sqrt((inner - (agreed * chance - 2 * chance + agreed) ** 2) / n) / (1 - chance) ** 2
    found = agreement(*labels((table * n).round().astype(int).tolist())).kappa_interval
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


@pytest.mark.parametrize("answers", [50, 200])
@pytest.mark.parametrize("cells", [[0.4, 0.1, 0.1, 0.4], [0.3, 0.05, 0.15, 0.5], [0.25, 0.25, 0.25, 0.25]])
def test_kappa_is_covered(answers: int, cells: list[float]) -> None:
    rng, hits = np.random.default_rng(answers), 0
    table = np.reshape(cells, (2, 2))
    chance = float(table.sum(0) @ table.sum(1))
    true = (np.trace(table) - chance) / (1 - chance)
    for _ in range(800):
        drawn = rng.choice(4, answers, p=cells)
        found = agreement(drawn // 2, drawn % 2).kappa_interval
        hits += found is not None and true in found
    assert hits / 800 == pytest.approx(0.955, abs=0.02)


def test_kappa_of_raters_who_hardly_differ_is_covered_at_least() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(500):
        drawn = rng.choice(4, 60, p=[0.48, 0.02, 0.02, 0.48])
        found = agreement(drawn // 2, drawn % 2).kappa_interval
        hits += found is not None and 0.92 in found
    assert hits / 500 >= 0.94


def test_too_few_answers_have_an_agreement_but_no_interval_of_kappa() -> None:
    found = agreement([True, False] * 10, [True, True] * 10)
    assert found.kappa == 0
    assert found.kappa_interval is None
    assert 0.5 in found.agreement_interval
    # the same answers by one template are one piece of evidence
    many = agreement([True, False] * 40, [True, True] * 40, ["one"] * 80)
    assert many.kappa_interval is None
    assert many.agreement_interval.high - many.agreement_interval.low > 0.8


def test_kappa_is_undefined_where_all_labels_are_one() -> None:
    found = agreement(["good"] * 60, ["good"] * 60)
    assert (found.agreement, found.kappa, found.kappa_interval) == (1, None, None)
    assert found.agreement_interval.low < 0.95
    # a rater of one label only agrees by chance
    constant = agreement(["good"] * 60, ["good", "bad"] * 30)
    assert constant.kappa == 0
    assert constant.kappa_interval is not None
    assert constant.kappa_interval.low < 0 < constant.kappa_interval.high


def test_groups_make_agreement_less_sure() -> None:
    rng = np.random.default_rng(1)
    first = rng.integers(0, 2, 400)
    second = np.where(np.repeat(rng.random(80) < 0.8, 5), first, 1 - first)
    alone, grouped = agreement(first, second), agreement(first, second, np.repeat(np.arange(80), 5))
    assert alone.kappa == grouped.kappa
    assert alone.kappa_interval is not None
    assert grouped.kappa_interval is not None
    width = alone.kappa_interval.high - alone.kappa_interval.low
    assert grouped.kappa_interval.high - grouped.kappa_interval.low > 1.5 * width


def test_position_flips() -> None:
    """Ten pairs: six alike, two always the first shown, one always the second, one a tie only once."""
    forward = [1, 1, 1, -1, -1, 0, 1, 1, -1, 1]
    backward = [1, 1, 1, -1, -1, 0, -1, -1, 1, 0]
    found = position_flips(forward, backward)
    assert (found.pairs, found.flips, found.rate, found.for_first) == (10, 4, 0.4, 2)
    assert 0.4 in found.interval
    with pytest.raises(ValueError, match="compared"):
        position_flips([1], [1, 1])


def test_length_bias() -> None:
    """Of eight pairs one is a tie and one of equal length; the longer answer is preferred in five of six."""
    preferred = [1, 1, 1, -1, -1, 1, 0, 1]
    found = length_bias(preferred, [9, 9, 9, 1, 1, 1, 9, 5], [1, 1, 1, 9, 9, 9, 1, 5])
    assert found is not None
    assert (found.decided, found.longer) == (6, 5)
    assert found.excess == pytest.approx(5 / 6 - 1 / 6)
    assert found.excess in found.excess_interval
    assert found.excess_interval.low == pytest.approx(2 * found.interval.low - 1)
    assert length_bias([0, 1], [1, 2], [2, 2]) is None
