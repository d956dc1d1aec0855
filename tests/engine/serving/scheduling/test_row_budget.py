"""How much of prompts is read beside others' tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.serving.scheduling.row_budget import FEWEST_ROWS, LONGEST_PASS, MOST_ROWS, RowBudget


def test_with_nobody_decoding_a_prompt_is_read_in_the_largest_pieces() -> None:
    assert RowBudget(12).rows(0, 1.0) == MOST_ROWS


@given(st.floats(1e-3, 0.2), st.floats(1e-4, 5e-3), st.integers(1, 16), st.sampled_from([4, 6, 8, 12]))
def test_a_pass_that_reads_a_prompt_takes_no_longer_than_it_may(
    alone_s: float, row_s: float, decoding: int, block: int
) -> None:
    budget = RowBudget(block)
    for _ in range(50):
        budget.observe(decoding, 0, alone_s)
        rows = budget.rows(decoding, 1.0)
        budget.observe(decoding, rows, alone_s + rows * row_s)
    rows = budget.rows(decoding, 1.0)
    assert FEWEST_ROWS <= rows <= MOST_ROWS
    assert rows < FEWEST_ROWS + block or alone_s + rows * row_s <= 1.05 * LONGEST_PASS * alone_s
    assert rows == MOST_ROWS or alone_s + (rows + block + 2) * row_s >= 0.95 * LONGEST_PASS * alone_s
    assert rows == MOST_ROWS or (decoding + rows) % block == 0


@given(st.floats(1e-3, 0.2), st.floats(1e-4, 5e-3), st.integers(1, 16), st.floats(0, 16))
def test_the_more_read_for_each_that_decodes_the_more_is_read(
    alone_s: float, row_s: float, decoding: int, readers: float
) -> None:
    budget = RowBudget(12)
    budget.observe(decoding, 0, alone_s)
    budget.observe(0, MOST_ROWS, MOST_ROWS * row_s)
    assert (
        budget.rows(decoding, 1.0) <= budget.rows(decoding, readers) <= budget.rows(decoding, readers + 1) <= MOST_ROWS
    )


def test_before_anything_was_measured_little_is_read() -> None:
    assert RowBudget(12).rows(1, 1.0) == FEWEST_ROWS
