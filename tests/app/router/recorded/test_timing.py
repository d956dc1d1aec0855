"""Times of answers that were given beside others, by some that had the engine alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.router.recorded.timing import FEW, TIMED_ALONE, Line, OwnTimes, Timed, some_of_all_lengths, to_time
from engine.cascade import TierAnswer
from engine.evaluation.tasks import Task
from tests.support.cascade import answer

TASK = Task(id="t", category="c", prompt="x", max_tokens=8)
LENGTHS = st.lists(st.integers(1, 400), max_size=60)


def took(prompt_tokens: int, tokens: int, *, base_s: float = 0.1, read_s: float = 0.01, step_s: float = 0.05) -> Timed:
    first_s = base_s + read_s * prompt_tokens
    made = answer(logprobs=(-0.1,) * tokens, ttft_s=first_s, e2e_s=first_s + step_s * (tokens - 1))
    return Timed(replace(made, prompt_tokens=prompt_tokens, prefill_s=0.9 * first_s), None)


def tasks_of(lengths: list[int]) -> list[Task]:
    return [replace(TASK, id=f"t{n}", prompt="x" * length) for n, length in enumerate(lengths)]


@given(LENGTHS, st.integers(-3, 80))
def test_some_prompts_of_all_lengths_are_so_many_and_spread_evenly(lengths: list[int], count: int) -> None:
    tasks = tasks_of(lengths)
    some = some_of_all_lengths(tasks, count)
    assert len(some) == min(max(count, 0), len(tasks))
    assert some == [task for task in tasks if task in some], "in their order, none twice"
    ordered, chosen = sorted(lengths), sorted(len(task.prompt) for task in some)
    for n, length in enumerate(chosen):  # each is the middle one of its share
        assert (
            ordered[n * len(ordered) // len(chosen)] <= length <= ordered[((n + 1) * len(ordered) - 1) // len(chosen)]
        )


def test_a_few_prompts_all_have_the_engine_alone_and_of_many_a_few() -> None:
    many = tasks_of([1] * (FEW + 1))
    assert to_time(many[:FEW]) == to_time(many[:FEW], timed=100) == many[:FEW]
    assert len(to_time(many)) == TIMED_ALONE
    assert len(to_time(many, timed=3)) == TIMED_ALONE - 3
    assert to_time(many, timed=100) == []


def test_times_of_a_machine_that_never_varies_are_found_exactly() -> None:
    times = OwnTimes.of([took(length, tokens) for length, tokens in ((10, 3), (40, 9), (90, 2), (200, 1))])
    for length, tokens in ((1, 1), (64, 30), (1000, 2)):
        wanted = took(length, tokens).answer
        shared = replace(wanted, ttft_s=9.0, e2e_s=99.0, prefill_s=8.0)
        found = times.applied(shared)
        assert found is not None
        assert (found.prefill_s, found.ttft_s, found.e2e_s) == pytest.approx(
            (wanted.prefill_s, wanted.ttft_s, wanted.e2e_s)
        )
        assert replace(found, prefill_s=8.0, ttft_s=9.0, e2e_s=99.0) == shared, "all but the times stays as it was"
    assert times.environment == {"disturbed": None, "timing": "estimated", "timed_alone": 4}


@given(st.lists(st.tuples(st.integers(1, 3000), st.floats(0, 60)), min_size=1, max_size=12), st.integers(1, 5000))
def test_no_estimate_is_negative_or_falls_with_the_prompts_length(points: list[tuple[int, float]], at: int) -> None:
    line = Line.through(points)
    assert 0 <= line.at(at) <= line.at(at + 100)

    # no other such line is nearer: moved a little either way it is farther off
    def off(line: Line) -> float:
        return sum((line.at(x) - y) ** 2 for x, y in points)

    for base, slope in ((0.01, 0.0), (-0.01, 0.0), (0.0, 1e-5), (0.0, -1e-5)):
        moved = Line(line.base_s + base, line.slope_s + slope)
        if moved.base_s >= 0 and moved.slope_s >= 0:
            assert off(line) <= off(moved) * (1 + 1e-9) + 1e-9


def test_disturbed_answers_do_not_count_where_quiet_ones_are_enough() -> None:
    quiet = [took(length, 5) for length in (10, 20, 40, 80)]
    slow = replace(took(30, 5, step_s=5.0), disturbed="A compiler ran.")
    assert OwnTimes.of([*quiet, slow]) == OwnTimes.of(quiet)
    mixed = OwnTimes.of([*quiet[:3], slow])
    assert (mixed.answers, mixed.disturbed) == (4, "A compiler ran.")


def test_without_a_second_token_no_step_is_made_up() -> None:
    times = OwnTimes.of([took(10, 1), took(20, 1)])
    assert times.applied(took(15, 2).answer) is None
    one = times.applied(took(15, 1).answer)
    assert one is not None
    assert one.e2e_s == one.ttft_s == pytest.approx(0.25)


def test_an_answer_without_a_token_has_no_time_to_its_first() -> None:
    empty: TierAnswer = answer(logprobs=(), ttft_s=None, e2e_s=3.0)
    found = OwnTimes.of([took(10, 4), took(20, 4)]).applied(empty)
    assert found is not None
    assert found.ttft_s is None
    assert found.e2e_s == pytest.approx(0.1 + 0.01 * empty.prompt_tokens)
