"""Synthetic traces have the rate, burstiness and lengths that they are asked for, and are the same for a seed."""

from __future__ import annotations

import random
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.traffic.arrivals import Arrival, Lengths
from app.operations.traffic.synthetic import arrivals, lengths
from engine.errors import InvalidRequestError


def drawn(rate: float, duration_s: float, cv: float, seed: int = 0) -> list[Arrival]:
    fixed = lengths("10")
    return list(
        arrivals(rate=rate, duration_s=duration_s, cv=cv, prompt_tokens=fixed, answer_tokens=fixed, seed=seed)()
    )


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_gaps_have_the_mean_and_the_variation_that_were_asked_for(cv: float) -> None:
    gaps = [after.at_s - before.at_s for before, after in pairwise(drawn(20, 2000, cv))]
    assert statistics.mean(gaps) == pytest.approx(1 / 20, rel=0.1)
    assert statistics.stdev(gaps) / statistics.mean(gaps) == pytest.approx(cv, rel=0.1)


@given(rate=st.floats(0.1, 50), duration_s=st.floats(0.1, 60), cv=st.floats(0.2, 5), seed=st.integers(0, 2**32))
def test_arrivals_are_in_order_within_the_duration_and_the_same_each_time(
    rate: float, duration_s: float, cv: float, seed: int
) -> None:
    found = drawn(rate, duration_s, cv, seed)
    times = [arrival.at_s for arrival in found]
    assert times == sorted(times)
    assert all(0 <= at_s <= duration_s for at_s in times)
    assert found == drawn(rate, duration_s, cv, seed)


def test_another_seed_gives_another_trace() -> None:
    assert drawn(5, 10, 1.0, seed=1) != drawn(5, 10, 1.0, seed=2)


def test_lengths_are_drawn_from_their_distributions() -> None:
    trace = arrivals(
        rate=50,
        duration_s=100,
        cv=1,
        prompt_tokens=lengths("lognormal:300:0.8"),
        answer_tokens=lengths("5-9"),
    )
    found = list(trace())
    prompts = [arrival.prompt.tokens for arrival in found if isinstance(arrival.prompt, Lengths)]
    assert statistics.median(prompts) == pytest.approx(300, rel=0.1)
    assert {arrival.max_tokens for arrival in found} == {5, 6, 7, 8, 9}


@given(median=st.floats(1, 1_000_000), sigma=st.floats(0, 10), seed=st.integers())
def test_a_length_is_always_one_that_can_be_asked_for(median: float, sigma: float, seed: int) -> None:
    assert 1 <= lengths(f"lognormal:{median}:{sigma}")(random.Random(seed)) <= 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-5", "9-5", "1-2-3", "1.5", "nan", "٣", "2000000", "zipf:1:2"),
        *("lognormal:300", "lognormal:0:1", "lognormal:nan:1", "lognormal:9:-1"),
    ],
)
def test_what_is_no_distribution_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="no distribution of lengths"):
        lengths(text)
