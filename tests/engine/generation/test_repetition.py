"""How much of an answer repeats itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.repetition import repeated_share


@pytest.mark.parametrize(
    ("token_ids", "share"),
    [([], None), ([1, 2, 3], None), ([1, 2, 3, 4], 0.0), ([1] * 8, 0.8), ([1, 2, 3, 4, 1, 2, 3, 4], 0.2)],
)
def test_the_share_counts_what_has_stood_before(token_ids: list[int], share: float | None) -> None:
    assert repeated_share(token_ids) == (None if share is None else pytest.approx(share))


@given(st.lists(st.integers(0, 3), min_size=4))
def test_saying_it_all_again_repeats_at_least_half(token_ids: list[int]) -> None:
    once, twice = repeated_share(token_ids), repeated_share(token_ids * 2)
    assert once is not None
    assert twice is not None
    assert 0 <= once <= twice < 1
    assert twice >= (len(token_ids) - 3) / (2 * len(token_ids) - 3) - 1e-9
