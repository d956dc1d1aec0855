"""Holm's correction by hand, and how often it errs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.experiments.statistics import holm

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def test_by_hand() -> None:
    found = holm([0.01, 0.04, 0.03, 0.005])
    # 4 × 0.005, 3 × 0.01, 2 × 0.03; 0.04 counts once and no less than the one before
    assert found.adjusted.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert found.rejected.tolist() == [True, False, False, True]


def test_none_and_one_are_as_they_are() -> None:
    assert len(holm([]).adjusted) == 0
    assert holm([0.03]).adjusted.tolist() == [0.03]
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


@given(P_VALUES)
def test_it_lies_between_no_correction_and_bonferronis(values: list[float]) -> None:
    given, found = np.array(values), holm(values)
    assert (found.adjusted >= given).all()
    assert (found.adjusted <= np.minimum(1, given * len(given)) + 1e-12).all()
    assert found.rejected.tolist() == (found.adjusted <= 0.05 + 1e-12).tolist()


@given(P_VALUES)
def test_the_order_of_the_tests_does_not_matter(values: list[float]) -> None:
    assert holm(values[::-1]).adjusted[::-1].tolist() == pytest.approx(holm(values).adjusted.tolist())


def test_any_false_rejection_is_as_rare_as_said() -> None:
    rng = np.random.default_rng(0)
    wrong = [holm(rng.random(8)).rejected.any() for _ in range(4000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.01)
