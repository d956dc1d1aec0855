"""Waterfalls over gears: bars from one end to the other, interactions in words, alarms that are none by chance."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest

from app.experiments.statistics import NoOrderingError
from app.experiments.verdicts.waterfall import AlarmKind, Waterfall, WaterfallFigure, waterfall

NAN = float("nan")
GEARS = ("4-bit", "prefix reuse", "speculation")


def sets_of(*names: str) -> list[frozenset[str]]:
    return [frozenset(each) for each in chain.from_iterable(combinations(names, k) for k in range(len(names) + 1))]


def times(
    factors: dict[str, float],
    together: dict[frozenset[str], float] | None = None,
    prompts: int = 60,
    seed: int = 0,
    noise: float = 0.05,
) -> dict[frozenset[str], np.ndarray]:
    """Seconds of each set of gears: factors multiply, ``together`` where all of a set are on."""
    rng = np.random.default_rng(seed)
    base, found = rng.lognormal(1, 0.4, prompts), {}
    for gears in sets_of(*factors):
        factor = np.prod([factors[gear] for gear in gears])
        factor *= np.prod([by for pair, by in (together or {}).items() if pair <= gears])
        found[gears] = base * factor * rng.lognormal(0, noise, prompts)
    return found


def of_times(measured: dict[frozenset[str], np.ndarray]) -> Waterfall:
    return waterfall(measured, WaterfallFigure.E2E)


def test_bars_lead_from_none_on_to_all_on() -> None:
    measured = times({"4-bit": 0.5, "prefix reuse": 0.8, "speculation": 0.9})
    found = of_times(measured)
    assert found.baseline == pytest.approx(measured[frozenset()].mean())
    assert found.total == pytest.approx(measured[frozenset(GEARS)].mean())
    assert [bar.gear for bar in found.bars] == list(GEARS)
    starts, ends = [bar.start for bar in found.bars], [bar.end for bar in found.bars]
    assert [found.baseline, *ends[:-1]] == pytest.approx(starts)
    assert ends[-1] == pytest.approx(found.total)
    for bar in found.bars:
        assert bar.interval is not None
        assert bar.change in bar.interval
        assert bar.interval.high < 0
    assert (found.prompts, found.left_out) == (60, 0)


def test_gears_that_multiply_get_not_in_each_others_way() -> None:
    """Each halves the time: together a quarter. The second saves fewer seconds, which is no surprise."""
    found = of_times(times({"4-bit": 0.5, "prefix reuse": 0.5, "speculation": 0.5}))
    assert (found.interactions, found.alarms) == ((), ())


def test_an_interaction_is_named() -> None:
    both = frozenset({"4-bit", "speculation"})
    found = of_times(times({"4-bit": 0.5, "speculation": 0.8}, {both: 1.2}))
    assert [each.text for each in found.interactions] == [
        "speculation lowers E2E by 4 % once 4-bit is on, by 21 % without it."
    ]
    assert found.interactions[0].on == pytest.approx(-0.04, abs=0.02)
    assert found.alarms == ()  # it still gains


def test_a_gear_that_cancels_another_is_an_alarm() -> None:
    both = frozenset({"4-bit", "speculation"})
    found = of_times(times({"4-bit": 0.5, "speculation": 0.8}, {both: 1.5}))
    assert [(each.kind, each.gear, each.other) for each in found.alarms] == [
        (AlarmKind.CANCELS, "speculation", "4-bit")
    ]
    assert found.alarms[0].text.startswith("speculation takes back part of what 4-bit gains: with both on, E2E is 2")
    assert found.alarms[0].text.endswith("% higher than with 4-bit alone.")


def test_a_gear_that_only_costs_is_no_alarm() -> None:
    """That a drafting model takes memory is its bar, and nothing that goes wrong between two gears."""
    found = waterfall(times({"4-bit": 0.5, "speculation": 1.3}), WaterfallFigure.MEMORY)
    assert (found.interactions, found.alarms) == ((), ())


def test_noise_names_nothing_more_often_than_said() -> None:
    factors = {"4-bit": 0.6, "prefix reuse": 0.9, "speculation": 0.9}
    named = [bool(of_times(times(factors, seed=seed, noise=0.2)).interactions) for seed in range(300)]
    assert np.mean(named) <= 0.08


def scores(shares: dict[frozenset[str], float], prompts: int = 400) -> dict[frozenset[str], np.ndarray]:
    """Right and wrong answers: the harder a prompt, the more gears get it wrong."""
    ease = np.random.default_rng(1).permutation(np.linspace(0, 1, prompts, endpoint=False))
    return {gears: (ease < share) * 1.0 for gears, share in shares.items()}


def test_gears_that_break_each_others_quality_are_an_alarm() -> None:
    alone, kv, both = frozenset({"4-bit"}), frozenset({"KV in int8"}), frozenset({"4-bit", "KV in int8"})
    measured = scores({frozenset(): 0.8, alone: 0.79, kv: 0.79, both: 0.6})
    found = waterfall(measured, WaterfallFigure.QUALITY)
    assert [each.kind for each in found.alarms] == [AlarmKind.BREAKS]
    assert "18.0 points of quality more than one by one" in found.alarms[0].text
    assert " costs 19.0 points of quality once " in found.interactions[0].text
    assert found.interactions[0].text.endswith(" is on, 1.0 points without it.")
    fine = waterfall(scores({frozenset(): 0.8, alone: 0.78, kv: 0.79, both: 0.77}), WaterfallFigure.QUALITY)
    assert fine.alarms == ()


def test_answers_without_a_score_count_nothing_and_times_that_are_missing_are_left_out() -> None:
    alone = frozenset({"4-bit"})
    quality = waterfall({frozenset(): [1, 1, 1, 1], alone: [1, NAN, NAN, 1]}, WaterfallFigure.QUALITY)
    assert (quality.baseline, quality.total, quality.prompts, quality.left_out) == (1, 0.5, 4, 0)
    timed = waterfall({frozenset(): [4, 4, 4, NAN], alone: [2, NAN, 2, 2]}, WaterfallFigure.TTFT)
    assert (timed.baseline, timed.total, timed.prompts, timed.left_out) == (4, 2, 2, 2)
    with pytest.raises(ValueError, match="no prompt has TTFT"):
        waterfall({frozenset(): [4, NAN], alone: [NAN, 2]}, WaterfallFigure.TTFT)
    with pytest.raises(ValueError, match="for each prompt"):
        waterfall({frozenset(): [4, 3], alone: [2]}, WaterfallFigure.TTFT)


def test_one_prompt_has_bars_without_intervals() -> None:
    found = of_times({frozenset(): np.array([4.0]), frozenset({"4-bit"}): np.array([2.0])})
    assert [(bar.gear, bar.change, bar.interval) for bar in found.bars] == [("4-bit", -2, None)]
    assert found.interactions == ()


def test_what_costs_nothing_leaves_no_ratio_and_is_shown_all_the_same() -> None:
    free = {gears: np.zeros(60) for gears in sets_of("4-bit", "speculation")}
    found = waterfall(free, WaterfallFigure.COST)
    assert (found.baseline, found.total, found.interactions) == (0, 0, ())


def test_gears_that_cannot_be_combined() -> None:
    measured = times({"4-bit": 0.5, "8-bit": 0.7, "speculation": 0.9})
    with pytest.raises(NoOrderingError, match="all of 4-bit, 8-bit, speculation"):
        of_times({gears: each for gears, each in measured.items() if not {"4-bit", "8-bit"} <= gears})
    # speculation works only on top of 4 bits here: one order is left
    some = {gears: each for gears, each in measured.items() if "8-bit" not in gears}
    del some[frozenset({"speculation"})]
    found = of_times(some)
    assert found.bars[-1].end == pytest.approx(found.total)
    assert found.interactions == ()
