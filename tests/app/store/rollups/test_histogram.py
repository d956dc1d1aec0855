"""Percentiles of histograms are those of the values, to 1 %, whatever the values and however they were put together."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.store.runs.rollups.histogram import BINS, RELATIVE_ERROR, bins_of, percentile

SECONDS = st.floats(2e-6, 1e6)


def counts_of(values: list[float]) -> np.ndarray:
    return np.bincount(bins_of(np.array(values)), minlength=BINS).astype(np.int64)


@given(st.lists(SECONDS, min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_is_that_of_the_values(values: list[float], share: float) -> None:
    exact = sorted(values)[math.ceil(len(values) * share) - 1]
    found = percentile(counts_of(values)[None], share)[0]
    assert abs(found - exact) <= RELATIVE_ERROR * exact * (1 + 1e-9)


@given(st.lists(SECONDS, max_size=20), st.lists(SECONDS, max_size=20))
def test_two_histograms_together_are_the_one_of_all_values(first: list[float], second: list[float]) -> None:
    assert (counts_of(first) + counts_of(second) == counts_of(first + second)).all()


def test_what_lies_outside_counts_into_the_first_and_the_last_bin() -> None:
    assert bins_of(np.array([0.0, 1e-9, 1e9, math.inf])).tolist() == [0, 0, BINS - 1, BINS - 1]


def test_the_first_bin_stands_for_no_time_at_all() -> None:
    assert percentile(counts_of([0.0, 0.0, 1.0])[None], 0.5)[0] == 0.0


def test_nothing_has_no_percentile() -> None:
    assert np.isnan(percentile(np.zeros((1, BINS), dtype=np.int64), 0.5)).all()
