"""The search on made-up measurements: what it finds, and what it keeps to."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.experiments.autopilot.choosing import choose
from app.experiments.autopilot.front import dominates, front
from app.experiments.autopilot.goal import Figure, Goal, Limit, Observed, Reading
from app.experiments.autopilot.search import LEAST, Found, Heat, rounds_of, search
from app.experiments.planning.design import DesignError

BASELINE = "16 bits"
PROMPTS = tuple(f"p{n}" for n in range(400))


def goal(**given: float) -> Goal:
    limits = {"percentile": 50, "seconds": 2.0, "margin_points": 5.0, "budget_s": 1e9} | given
    return Goal(figure=Figure.E2E, **limits)  # type: ignore[arg-type]


@dataclass
class World:
    """What configurations do: the share they get right, and the seconds and bytes they take, with noise."""

    truth: dict[str, tuple[float, float, float]]
    seed: int = 0
    asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)
    seconds: float = 0.0

    def measure(self, names: Sequence[str], prompts: Sequence[str], at_most_s: float) -> Heat:
        self.asked.append((tuple(names), tuple(prompts)))
        cost = {name: self.truth[name][1] for name in names}
        needed = sum(cost.values()) * len(prompts)
        seconds = min(needed, at_most_s)
        self.seconds += seconds
        observed = {name: self._observed(name, prompts) for name in names}
        return Heat(observed, seconds, cost, complete=needed <= at_most_s)

    def _observed(self, name: str, prompts: Sequence[str]) -> Observed:
        right, seconds, memory = self.truth[name]
        scores, times = {}, {}
        for prompt in prompts:
            hard = random.Random(f"{self.seed} {prompt}").random()  # the same prompts are hard for all
            own = random.Random(f"{self.seed} {name} {prompt}")
            scores[prompt] = float(0.9 * hard + 0.1 * own.random() < right)
            times[prompt] = seconds * own.lognormvariate(0, 0.2)
        return Observed(scores, times, memory)


def world(seed: int = 0, **extra: tuple[float, float, float]) -> World:
    """One good and fast; others slower, or fast and wrong, in the order of their names at random."""
    truth = {BASELINE: (0.7, 3.0, 8e9), "best": (0.7, 1.0, 3e9)}
    truth |= {f"slow {n}": (0.7, 1.6 + 0.1 * n, 4e9) for n in range(10)}
    truth |= {f"wrong {n}": (0.3, 0.5 + 0.05 * n, 1e9) for n in range(10)}
    return World(truth | extra, seed)


def run(made: World, wanted: Goal, budget_s: float = 1e9, prompts: Sequence[str] = PROMPTS) -> Found:
    names = [name for name in made.truth if name != BASELINE]
    random.Random(made.seed).shuffle(names)
    return search(names, prompts, wanted, made.measure, baseline=BASELINE, budget_s=budget_s, seed=made.seed)


def test_the_best_is_found_among_fast_ones_that_are_wrong_and_right_ones_that_are_slow() -> None:
    chosen = [choose(run(world(seed), goal(), budget_s=1_500), goal(), BASELINE).name or "" for seed in range(30)]
    assert chosen.count("best") >= 27
    assert not any(name.startswith("wrong") for name in chosen), "where noise decides, it is between right ones"


def test_who_left_after_a_few_prompts_comes_back_once_those_that_went_on_turn_out_wrong() -> None:
    truth = {BASELINE: (0.7, 6.0, 3e9)} | {f"good {n}": (0.7, 1.4 + 0.2 * n, 1e9) for n in range(2)}
    truth |= {f"nearly {n}": (0.52, 0.4 + 0.05 * n, 1e9) for n in range(14)}  # four prompts seldom tell
    found = [run(World(truth, seed), goal(percentile=80), budget_s=1_500) for seed in range(20)]
    chosen = [choose(each, goal(percentile=80), BASELINE).name or "" for each in found]
    assert sum(name.startswith("good") for name in chosen) >= 18
    assert any(
        set(later.survivors) - {each.name for each in later.readings} for each in found for later in each.rounds
    ), "nobody ever came back"


def test_each_round_has_half_of_the_one_before_on_a_block_of_its_own() -> None:
    made = world()
    found = run(made, goal(), budget_s=1_500)
    assert [len(each.readings) for each in found.rounds] == [21, 11, 6, 3, 3, 3]
    assert len(found.rounds) == rounds_of(21)
    blocks = [set(each.block) for each in found.rounds]
    assert sum(map(len, blocks)) == len(set.union(*blocks)), "no prompt is asked twice"
    assert len(found.rounds[0].block) == LEAST
    for names, prompts in made.asked:
        assert (BASELINE in names) == (names[0] == BASELINE)
        assert set(prompts) in blocks


@pytest.mark.parametrize("budget_s", [50, 200, 450, 1_000, 5_000])
def test_the_budget_is_kept(budget_s: float) -> None:
    made = world()
    found = run(made, goal(), budget_s)
    assert made.seconds <= budget_s
    assert found.seconds == pytest.approx(made.seconds)
    assert found.finished


def test_without_time_for_all_it_says_which_it_did_not_come_to() -> None:
    made = world()
    found = run(made, goal(), budget_s=400)
    assert found.not_reached
    assert set(found.not_reached).isdisjoint(found.readings)
    assert set(found.not_reached) | set(found.readings) == set(made.truth)


def test_without_time_for_anything_nothing_is_chosen() -> None:
    found = run(world(), goal(), budget_s=5)
    assert (found.finished, found.rounds, found.alive) == (True, [], ())
    choice = choose(found, goal(), BASELINE)
    assert choice.name is None
    assert "time was up" in choice.text


def test_few_prompts_are_all_asked_and_no_other() -> None:
    made = world()
    found = run(made, goal(), prompts=PROMPTS[:15])
    assert found.finished
    assert {prompt for _, prompts in made.asked for prompt in prompts} <= set(PROMPTS[:15])


def test_what_is_above_the_memory_ceiling_goes_at_once() -> None:
    found = run(world(), goal(memory_bytes=3.5e9), budget_s=1_500)
    assert {"slow 0", "slow 9"}.isdisjoint(found.rounds[0].survivors)
    assert choose(found, goal(memory_bytes=3.5e9), BASELINE).name == "best"


def test_the_same_answers_lead_to_the_same_course() -> None:
    one, other = (run(world(3), goal(), budget_s=900) for _ in range(2))
    assert (one.rounds, one.readings, one.alive) == (other.rounds, other.readings, other.alive)


def test_a_course_that_was_cut_short_is_the_beginning_of_the_whole_one() -> None:
    made = world()
    whole, known = run(made, goal(), budget_s=1_500), len(made.asked)
    for most in range(known):
        again, asked = world(), 0

        def some(names: Sequence[str], prompts: Sequence[str], at_most_s: float) -> Heat | None:
            nonlocal asked
            asked += 1
            return again.measure(names, prompts, at_most_s) if asked <= most else None  # noqa: B023

        names = [name for name in made.truth if name != BASELINE]
        random.Random(0).shuffle(names)
        part = search(names, PROMPTS, goal(), some, baseline=BASELINE, budget_s=1_500, seed=0)
        assert not part.finished
        assert part.rounds == whole.rounds[: len(part.rounds)]
        assert again.asked == made.asked[:most]


def test_the_baseline_is_chosen_where_nothing_keeps_its_quality_and_it_is_fast_enough() -> None:
    made = World({BASELINE: (0.7, 1.0, 1e9)} | {f"wrong {n}": (0.1, 0.5, 1e9) for n in range(6)})
    assert choose(run(made, goal()), goal(), BASELINE).name == BASELINE


def test_where_none_will_do_it_says_which_limit_is_in_the_way_and_who_comes_nearest() -> None:
    choice = choose(run(world(), goal(seconds=0.8)), goal(seconds=0.8), BASELINE)
    assert choice.name is None
    assert f"In the way is {Limit.LATENCY} or {Limit.QUALITY}" in choice.text
    latency, quality = choice.nearest
    assert latency.startswith("“best” would do but for latency: p50 E2E is 1.")
    assert "800 ms are allowed" in latency
    assert quality.startswith("“wrong")


def test_a_failure_counts_as_infinitely_slow_and_wrong() -> None:
    ok = Observed({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, 1e9)
    bad = Observed({"a": 0.0, "b": 0.0}, {"a": float("inf"), "b": float("inf")}, None)
    reading = Reading.of("bad", bad, ok, goal())
    assert reading.worth(goal()) == 0
    assert set(reading.excess(goal())) == {Limit.LATENCY, Limit.QUALITY}


def test_few_prompts_never_make_it_sure() -> None:
    same = Observed({"a": 1.0}, {"a": 1.0}, None)
    assert 0.5 < Reading.of("other", Observed({"a": 1.0}, {"a": 1.0}), same, goal()).kept < 0.7
    many = {str(n): 1.0 for n in range(1_000)}
    assert Reading.of("other", Observed(dict(many), many), Observed(many, many), goal()).kept > 0.99


# --- the Pareto front -------------------------------------------------------------------------------

COSTS = st.tuples(*[st.integers(0, 5).map(float)] * 3)


@given(st.dictionaries(st.text(max_size=3), COSTS, max_size=20))
def test_who_is_on_the_front_is_beaten_by_none_and_all_others_by_one_on_it(
    points: dict[str, tuple[float, ...]],
) -> None:
    best = set(front(points))
    assert bool(best) == bool(points)
    for name, costs in points.items():
        beaten = any(dominates(points[other], costs) for other in best)
        assert beaten != (name in best)


@given(st.dictionaries(st.text(max_size=3), COSTS, min_size=1, max_size=10), COSTS)
def test_as_points_come_the_front_only_changes_where_they_beat_or_are_not_beaten(
    points: dict[str, tuple[float, ...]], costs: tuple[float, ...]
) -> None:
    before, after = set(front(points)), set(front({**points, "the new one": costs}))
    assert after - {"the new one"} <= before
    assert {name for name in before - after if not dominates(costs, points[name])} == set()


@pytest.mark.parametrize(
    "wrong",
    [
        {"percentile": 100},
        {"seconds": 0.0},
        {"margin_points": 100.0},
        {"memory_bytes": 0.0},
        {"budget_s": float("inf")},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DesignError):
        goal(**wrong)
