"""Configurations beside each other: as the statistics say it, on the prompts of which all have a figure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.experiments.comparing.compared import Compared, Share, compare, compared_texts
from app.experiments.comparing.configurations import whole_configurations
from app.experiments.comparing.shared import Quantity, Shared, shared_prompts
from app.experiments.results.arrays import Measure, read_results
from app.experiments.results.figures import figures_of
from app.experiments.statistics import difference_interval, geometric_ratio, quantile_interval
from app.store import RunFilter, RunStore
from engine.errors import GearboxError
from tests.support.experiments import TASKS, AnsweringEngine, design, run, sums

NAN = math.nan


def shared(
    e2e: list[list[float]], scores: list[list[float]] | None = None, latest: list[list[str]] | None = None
) -> Shared:
    times = np.array(e2e)
    return Shared(
        answered=(times.shape[1],) * len(times),
        both={},
        figures={Quantity.E2E: times, Quantity.KV: np.zeros(times.shape)},
        scores=np.full(times.shape, NAN) if scores is None else np.array(scores),
        failed=np.zeros(times.shape, dtype=bool),
        disturbed=np.zeros(times.shape, dtype=bool),
        latest=np.full(times.shape, "", dtype=object) if latest is None else np.array(latest, dtype=object),
        groups=None,
    )


def by_figure(found: tuple[Compared, ...]) -> dict[str, Compared]:
    return {str(each.figure): each for each in found}


def test_times_are_paired_on_the_prompts_that_all_have_and_what_none_has_is_left_out() -> None:
    rng = np.random.default_rng(1)
    before = rng.lognormal(size=60)
    after, third = before / 2 * rng.lognormal(0, 0.1, 60), before * 3
    third[:5] = NAN
    (found,) = compare(shared([before.tolist(), after.tolist(), third.tolist()]), {})
    assert (found.figure, found.prompts) == (Quantity.E2E, 55)
    assert found.typical[1].value == pytest.approx(float(np.median(after[5:])))
    assert found.typical[1].interval == quantile_interval(after[5:], 0.5)
    ratio = geometric_ratio(before[5:], after[5:])
    assert (found.changes[0].value, found.changes[0].interval) == (ratio.ratio, ratio.interval)
    assert found.changes[1].value == pytest.approx(1 / 3)
    assert found.change == pytest.approx(math.log(3))


def test_few_prompts_tell_a_median_and_no_interval() -> None:
    (found,) = compare(shared([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]), {})
    assert [each.interval for each in found.typical] == [None, None]
    assert (found.changes[0].value, found.changes[0].interval, found.change) == (1.0, None, 0.0)


def test_quality_is_of_the_prompts_that_a_checker_scored_with_all() -> None:
    scores = [[1.0, 1.0, 1.0, NAN], [0.0, 1.0, NAN, NAN]]
    quality = by_figure(compare(shared([[1.0] * 4] * 2, scores), {}))[Share.QUALITY]
    assert (quality.prompts, [each.value for each in quality.typical]) == (2, [1.0, 0.5])
    assert (quality.changes[0].value, quality.change) == (-0.5, 0.5)
    assert quality.changes[0].interval == difference_interval([-1.0, 0.0])


def test_answers_that_no_checker_scored_are_held_against_the_first_ones() -> None:
    given = shared([[1.0] * 3] * 2, [[NAN, NAN, 1.0], [NAN, NAN, 1.0]], [["1", "2", "3"], ["4", "", "6"]])
    assert compared_texts(given) == ["1", "2", "4"]
    found = by_figure(compare(given, {"1": "the sea is blue", "2": "yes", "4": " the sea is wide "}))
    assert [each.value for each in found[Share.SAME_TEXT].typical] == [1.0, 0.0]
    assert found[Share.WORD_F1].prompts == 2  # an answer that failed is like nothing
    assert found[Share.WORD_F1].typical[1].value == pytest.approx((0.75 + 0.0) / 2)
    assert found[Share.WORD_F1].change == pytest.approx(1 - 0.375)


def test_an_experiments_runs_say_what_the_experiment_says(store: RunStore) -> None:
    """Both read the same runs: the one its cells, the other whatever is stored of them."""
    made = design([*TASKS, *sums(4)], repeats=2)
    failing = AnsweringEngine(fails={"1 + 1?": GearboxError("No.")})
    experiment = run(failing, store, made)
    results = read_results(store, experiment)
    among = RunFilter(group_id=experiment)
    configurations = whole_configurations(store.used_configurations(among))
    in_order = [next(each for each in configurations if each.id == asked.config.hash) for asked in made.configurations]
    found = shared_prompts(store.answered(among), in_order, store.experiments.scores(among))
    assert found.prompts == len(made.prompts)
    scores = results.scores(Measure.CHECKER)
    assert sorted(map(tuple, np.nan_to_num(found.scores.T, nan=-1))) == sorted(
        map(tuple, np.nan_to_num(scores.T, nan=-1))
    )
    texts = store.experiments.answers(compared_texts(found))
    compared = by_figure(compare(found, texts))
    by_all = results.answered_by(0, 1) & ~results.failed.any(axis=0)
    for place, figures in enumerate(figures_of(results, Measure.CHECKER, by_all)):
        assert compared[Quantity.E2E].typical[place].value == pytest.approx(figures.e2e.p50)
        assert compared[Quantity.TTFT].typical[place].value == pytest.approx(figures.ttft.p50)
    open_one = results.scores(Measure.WORD_F1)[1, 2]
    assert compared[Share.WORD_F1].typical[1].value == pytest.approx(open_one)
