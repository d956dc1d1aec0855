"""An experiment's cells as arrays, and its table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from sqlalchemy import event

from app.experiments.results.arrays import Measure, read_results, results_of
from app.experiments.results.table import table_of
from app.experiments.running.starting import keep_design
from app.store import Pass, RunStore
from tests.support.experiments import TASKS, configuration, design, quality, read, speed

NAN = float("nan")


def test_before_the_first_cell_there_is_nothing_but_the_prompts(store: RunStore) -> None:
    found = read(store, design())
    assert (found.names, found.prompt_ids) == (("16 bits", "int4"), ("sky", "moon", "open"))
    assert found.categories == ("Facts", "Facts", "Chat")
    assert found.measures == ()
    assert not found.answered_by(0, 1).any()
    assert np.isnan(found.e2e_s).all()


def test_scores_are_means_over_repeats_and_a_failure_counts_as_nothing_right(store: RunStore) -> None:
    found = read(
        store,
        design(),
        quality(0, "sky", 1.0), quality(0, "moon", 1.0), quality(0, "open", same_text=True, word_f1=1.0),
        quality(1, "sky", 1.0), quality(1, "sky", 0.0, repeat=1),
        quality(1, "moon", failure="Too long."), quality(1, "open", same_text=False, word_f1=0.25),
    )  # fmt: skip
    np.testing.assert_array_equal(found.scores(Measure.CHECKER), [[1, 1, NAN], [0.5, 0, NAN]])
    np.testing.assert_array_equal(found.scores(Measure.WORD_F1), [[NAN, NAN, 1], [NAN, NAN, 0.25]])
    np.testing.assert_array_equal(found.scores(Measure.SAME_TEXT), [[NAN, NAN, 1], [NAN, NAN, 0]])
    np.testing.assert_array_equal(found.failed, [[False] * 3, [False, True, False]])
    assert found.answered_by(0, 1).all()
    assert found.measures == (Measure.CHECKER, Measure.WORD_F1, Measure.SAME_TEXT)


def test_a_prompt_that_all_fail_on_stays_in_the_denominator(store: RunStore) -> None:
    cells = [quality(place, name, failure="No.") for place in (0, 1) for name in ("sky", "moon")]
    found = read(store, design(), *cells)
    np.testing.assert_array_equal(found.scores(Measure.CHECKER), [[0, 0, NAN]] * 2)


def test_another_configuration_is_held_against_the_baseline_on_what_both_have_answered(store: RunStore) -> None:
    found = read(
        store,
        replace(design(), baseline=1),
        quality(0, "sky", 0.0), quality(0, "moon", failure="No."), quality(0, "open", word_f1=0.5),
        quality(1, "moon", 1.0), quality(1, "open", word_f1=1.0),
    )  # fmt: skip
    which = found.applies(Measure.CHECKER) & found.answered_by(0, 1)
    ids, groups, categories, baseline, other = found.against_baseline(0, found.scores(Measure.CHECKER), which)
    assert (ids, groups, categories) == (("moon",), ("moon",), ("Facts",))
    assert (baseline.tolist(), other.tolist()) == ([1.0], [0.0])


def test_what_a_checker_could_not_tell_is_no_score(store: RunStore) -> None:
    found = read(store, design(), quality(0, "sky"), quality(0, "moon", 1.0))
    np.testing.assert_array_equal(found.scores(Measure.CHECKER)[0], [NAN, 1, NAN])
    np.testing.assert_array_equal(found.answered_by(0), [True, True, False])


def test_times_are_of_undisturbed_cells_where_there_are_any(store: RunStore) -> None:
    found = read(
        store,
        design(repeats=3),
        speed(0, "sky", 1.0), speed(0, "sky", 9.0, repeat=1, disturbed=True), speed(0, "sky", 3.0, repeat=2),
        speed(0, "moon", 4.0, disturbed=True), speed(0, "moon", 6.0, repeat=1, disturbed=True),
        speed(1, "sky", None, failure="No."), quality(1, "moon", 1.0, e2e_s=77.0),
    )  # fmt: skip
    np.testing.assert_array_equal(found.e2e_s, [[2, 5, NAN], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(found.disturbed, [[False, True, False], [False] * 3])


def test_without_a_quality_pass_the_timed_answers_are_scored(store: RunStore) -> None:
    made = design(passes=[Pass.SPEED])
    found = read(store, made, speed(0, "sky", 1.0, score=1.0), speed(0, "moon", 1.0, score=0.0))
    np.testing.assert_array_equal(found.scores(Measure.CHECKER)[0], [1, 0, NAN])


def test_prompts_of_a_template_are_one_group(store: RunStore) -> None:
    tasks = [replace(TASKS[0], template="sums"), replace(TASKS[1], template="sums"), TASKS[2]]
    assert read(store, design(tasks)).groups == ("sums", "sums", "open")


def test_no_long_text_is_read_to_open_one_and_no_cell_by_itself(store: RunStore) -> None:
    id = keep_design(store, design())
    for task in TASKS:
        store.experiments.keep_cell(id, quality(0, task.id, 1.0))
    with statements(store) as seen:
        read_results(store, id)
    assert not [text for text in seen if "run_contents" in text]
    assert sum("FROM experiment_cells" in text and "count" not in text for text in seen) == 1


@contextmanager
def statements(store: RunStore) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: object, _cursor: object, text: str, *_more: object) -> None:
        seen.append(text)

    engine = store._database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_the_table_has_a_line_a_configuration_with_units(store: RunStore) -> None:
    made = design(TASKS[:2], [configuration("16 bits"), configuration("広い int4")])
    found = read(
        store, made,
        quality(0, "sky", 1.0), quality(0, "moon", 0.0), quality(1, "sky", failure="No."),
        speed(0, "sky", 1.0, ttft_s=0.1, tpot_s=0.02), speed(0, "moon", 2.0, ttft_s=0.3, tpot_s=0.04, disturbed=True),
    )  # fmt: skip
    assert table_of(found).splitlines() == [
        "Configuration       Answered  Failed   Right  E2E p50  E2E p95  TTFT p50  TPOT p50  Disturbed",
        "16 bits (baseline)    2 of 2       0  50.0 %   1.50 s   1.95 s    200 ms   30.0 ms          1",
        "広い int4             1 of 2       1   0.0 %        –        –         –         –          0",
    ]


def test_the_table_of_answers_alone_has_no_times(store: RunStore) -> None:
    made = design(TASKS[2:], passes=[Pass.QUALITY])
    id = keep_design(store, made)
    cells = [quality(place, "open", same_text=True, word_f1=1.0) for place in (0, 1)]
    text = table_of(results_of(store.experiments.get(id), made, cells))
    assert text.splitlines()[0].split("  ")[-1] == "Same text"
    assert "E2E" not in text
