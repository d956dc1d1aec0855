"""Shapley values and interactions against the definition counted out over all orders, and their axioms."""

from __future__ import annotations

from itertools import chain, combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.experiments.statistics import Gears, NoOrderingError, attribution, interplay, pairs

Measured = dict[Gears, np.ndarray]


def sets_of(names: str) -> list[Gears]:
    return [frozenset(each) for each in chain.from_iterable(combinations(names, k) for k in range(len(names) + 1))]


@st.composite
def games(draw: st.DrawFn) -> Measured:
    """Two to four gears, one to five prompts; of four some sets cannot be combined."""
    names = "abcd"[: draw(st.integers(2, 4))]
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    prompts = draw(st.integers(1, 5))
    missing = draw(
        st.sets(st.sampled_from([each for each in sets_of(names) if 0 < len(each) < len(names)]), max_size=3)
    )
    return {each: rng.normal(size=prompts) for each in sets_of(names) if each not in missing}


def counted_out(measured: Measured) -> dict[str, np.ndarray] | None:
    """What each gear adds, averaged over every order whose steps were all measured; ``None`` without one."""
    names = frozenset().union(*measured)
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for order in permutations(sorted(names)):
        steps = [frozenset(order[:k]) for k in range(len(order) + 1)]
        if all(step in measured for step in steps):
            for gear, before, after in zip(order, steps, steps[1:], strict=False):
                found[gear].append(measured[after] - measured[before])
    return {name: np.mean(each, axis=0) for name, each in found.items()} if all(found.values()) else None


@given(games())
def test_values_are_those_counted_out_over_all_orders(measured: Measured) -> None:
    expected = counted_out(measured)
    if expected is None:
        with pytest.raises(NoOrderingError):
            attribution(measured)
        return
    assert {each.gear: each.change for each in attribution(measured)} == pytest.approx(
        {gear: float(each.mean()) for gear, each in expected.items()}
    )


@given(games())
def test_they_add_up_to_the_whole_change(measured: Measured) -> None:
    if counted_out(measured) is None:
        return
    whole = measured[max(measured, key=len)] - measured[frozenset()]
    assert sum(each.change for each in attribution(measured)) == pytest.approx(float(whole.mean()))


@given(games())
def test_interplay_is_that_of_the_orders_with_the_two_side_by_side(measured: Measured) -> None:
    if counted_out(measured) is None:
        return
    names = sorted(frozenset().union(*measured))
    for gear, other in pairs(measured.keys()):
        on, off = [], []
        for order in permutations(names):
            place = order.index(gear)
            if order[place + 1 : place + 2] != (other,):
                continue
            turned = (*order[:place], other, gear, *order[place + 2 :])
            steps = [frozenset(each[:k]) for each in (order, turned) for k in range(len(names) + 1)]
            if all(step in measured for step in steps):
                before = frozenset(order[:place])
                on.append(measured[before | {gear, other}] - measured[before | {other}])
                off.append(measured[before | {gear}] - measured[before])
        found = interplay(measured, gear, other)
        assert (found is None) == (not on)
        if found is not None:
            assert found.on == pytest.approx(np.mean(on, axis=0))
            assert found.off == pytest.approx(np.mean(off, axis=0))
            back = interplay(measured, other, gear)
            assert back is not None
            assert back.extra == pytest.approx(found.extra)


@given(st.integers(0, 1000))
def test_a_gear_that_does_nothing_gets_nothing_and_two_alike_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    of = {each: rng.normal(size=3) for each in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))}
    # a and b count the same, c counts, d does nothing
    measured = {each: of[len(each & {"a", "b"}), len(each & {"c"})] for each in sets_of("abcd")}
    a, b, _, d = (each.change for each in attribution(measured))
    assert a == pytest.approx(b)
    assert d == pytest.approx(0, abs=1e-12)


def test_two_gears_by_hand() -> None:
    """10 s, 6 with a, 8 with b, 5 with both: a saves 4 first and 3 second, b saves 2 and 1."""
    measured = {
        frozenset[str](): [10.0, 10.0],
        frozenset("a"): [6.0, 6.0],
        frozenset("b"): [8.0, 8.0],
        frozenset("ab"): [5.0, 5.0],
    }
    assert [(each.gear, each.change) for each in attribution(measured)] == [("a", -3.5), ("b", -1.5)]
    found = interplay(measured, "b", "a")
    assert found is not None
    assert (found.on.tolist(), found.off.tolist(), found.extra.tolist()) == ([-1, -1], [-2, -2], [1, 1])


def test_orders_that_cannot_be_are_left_out() -> None:
    """b works only on top of a: there is one order, and nothing is known of b without a."""
    measured = {frozenset[str](): [10.0], frozenset("a"): [6.0], frozenset("ab"): [5.0]}
    assert [(each.gear, each.change) for each in attribution(measured)] == [("a", -4.0), ("b", -1.0)]
    assert interplay(measured, "b", "a") is None


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["", "a", "b"], "with all of a, b on"),
        (["a", "ab"], "with none of a, b on"),
        (["", "ab"], "one after the other"),
        (["", "a", "bc", "abc"], "one after the other"),
    ],
)
def test_without_an_order_it_is_refused(sets: list[str], said: str) -> None:
    with pytest.raises(NoOrderingError, match=said):
        attribution({frozenset(each): [1.0] for each in sets})


def test_intervals_are_those_of_means_over_groups() -> None:
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.normal(0, 1, 60), 5)
    measured = {frozenset[str](): np.full(300, 9.0), frozenset("a"): 6 + shared + rng.normal(0, 0.1, 300)}
    alone, grouped = attribution(measured)[0], attribution(measured, np.repeat(np.arange(60), 5))[0]
    assert alone.interval is not None
    assert grouped.interval is not None
    assert grouped.interval.high - grouped.interval.low > 2 * (alone.interval.high - alone.interval.low)
    assert grouped.change in grouped.interval


def test_prompts_that_are_not_equally_many_are_refused() -> None:
    with pytest.raises(ValueError, match="each prompt"):
        attribution({frozenset[str](): [1.0], frozenset("a"): [1.0, 2.0]})
