"""What each configuration came to by itself, and what a day of it costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app import units
from app.experiments.reporting.day import Day, day_rows, energy_note, energy_text, saving
from app.experiments.results.arrays import Measure, Results
from app.experiments.results.figures import Figures, Times, figures_of
from app.remote.prices import ListPrice
from app.store import Pass, RunStore
from tests.support.experiments import answered, design, quality, read, speed, sums

EVERY = np.ones(4, dtype=bool)
DAY = Day(per_hour=3.6, currency="$", requests=10_000, target_s=30.0)
TOKENS = {"prompt_tokens": 10, "completion_tokens": 20}


def figures(results: Results, *, measure: Measure | None = Measure.CHECKER) -> tuple[Figures, ...]:
    return figures_of(results, measure, np.ones(len(results.prompt_ids), dtype=bool))


def test_percentiles_are_over_the_prompts_that_were_timed() -> None:
    found = Times.of(np.array([1.0, np.nan, 3.0]))
    assert (found.p50, found.p95) == (2.0, pytest.approx(2.9))
    assert Times.of(np.array([np.nan])) == Times(None, None)


def test_each_configuration_has_its_own(store: RunStore) -> None:
    tasks = sums(4)
    cells = [*answered(0, tasks, [1.0, 1.0, 1.0, 0.0]), quality(1, "sum 0", failure="No."), quality(1, "sum 1", 1.0)]
    before, after = figures(read(store, design(tasks), *cells, speed(1, "sum 1", 3.0, disturbed=True)))
    assert (before.name, before.prompts, before.failed, before.score) == ("16 bits", 4, 0, 0.75)
    assert before.weights_bytes == 100 << 20
    assert before.e2e.p50 == pytest.approx(1.015)
    assert (after.prompts, after.failed, after.score, after.disturbed) == (2, 1, 0.5, 1)
    assert after.e2e.p50 == 3.0
    assert after.ttft == Times(None, None)


def test_only_the_prompts_looked_at_count(store: RunStore) -> None:
    tasks = sums(4)
    results = read(store, design(tasks), *answered(0, tasks, [1.0, 1.0, 0.0, 0.0]), *answered(1, tasks, [1.0] * 4))
    before, _ = figures_of(results, Measure.CHECKER, np.array([False, False, True, True]))
    assert (before.prompts, before.score) == (2, 0.0)
    assert before.alone is not None
    assert before.alone.e2e_s == pytest.approx(1.025)
    assert figures(results, measure=None)[0].score is None


def test_requests_alone_are_of_the_speed_pass_and_those_in_company_of_passes_that_were_shared(store: RunStore) -> None:
    tasks = sums(4)
    cells = [
        quality(0, "sum 0", 1.0, e2e_s=8.0, mean_batch_size=4.0, **TOKENS),
        quality(0, "sum 1", 1.0, e2e_s=6.0, mean_batch_size=2.0, **TOKENS),
        quality(0, "sum 2", 1.0, e2e_s=1.0, mean_batch_size=1.0, **TOKENS),  # nobody was there to share with
        quality(0, "sum 3", failure="No."),
        speed(0, "sum 0", 2.0, **TOKENS),
        quality(1, "sum 0", 1.0),
    ]
    before, after = figures(read(store, design(tasks), *cells))
    assert before.alone is not None
    assert (before.alone.e2e_s, before.alone.at_once, before.alone.tokens_per_s) == (2.0, 1.0, 10.0)
    assert before.together is not None
    assert (before.together.e2e_s, before.together.at_once) == (7.0, 3.0)
    assert after.alone is after.together is None


def test_what_is_known_to_be_kept_of_prompts_is_a_mean_over_all_of_them(store: RunStore) -> None:
    told, untold = speed(0, "sum 0", 2.0, cached_tokens=8, **TOKENS), speed(0, "sum 1", 2.0, **TOKENS)
    before, _ = figures(read(store, design(sums(4)), told, replace(untold, cached_tokens=None)))
    assert before.alone is not None
    assert (before.alone.prompt_tokens, before.alone.cached_tokens) == (10.0, 4.0)


def test_a_day_costs_the_machines_time(store: RunStore) -> None:
    tasks = sums(4)
    results = read(store, design(tasks), *answered(0, tasks, [1.0] * 4, 2.0), *answered(1, tasks, [1.0] * 4, 1.0))
    rows = day_rows(figures(results), DAY)
    assert [(row.name, row.how) for row in rows] == [
        ("16 bits", "alone"), ("16 bits", "in company"), ("int4", "alone"), ("int4", "in company"),
    ]  # fmt: skip
    # 2.035 s at a thousandth of a dollar each
    assert [row.a_day for row in rows] == ["$20.35", "$5.09", "$10.20", "$2.55"]
    assert rows[0].million_tokens == "$407.00"
    assert {row.machines for row in rows} == {"1"}


def test_no_machine_answers_sooner_than_it_does(store: RunStore) -> None:
    tasks = sums(4)
    results = read(store, design(tasks), *answered(0, tasks, [1.0] * 4, 2.0))
    (alone, _) = day_rows(figures(results), replace(DAY, target_s=1.0))
    assert alone.machines == "none would do"


def test_what_is_saved_is_said_either_way(store: RunStore) -> None:
    tasks = sums(4)
    results = read(store, design(tasks), *answered(0, tasks, [1.0] * 4, 2.0), *answered(1, tasks, [1.0] * 4, 1.0))
    before, after = figures(results)
    assert "int4 saves $10.15 a day against 16 bits" in str(saving(before, after, DAY))
    assert "16 bits costs $10.15 a day against int4" in str(saving(after, before, DAY))
    assert saving(replace(before, alone=None), after, DAY) is None


# --- energy -----------------------------------------------------------------------------------------------


def test_a_servers_model_costs_its_list_price_and_no_time_energy_or_machines_here(store: RunStore) -> None:
    tasks = sums(4)
    results = read(store, design(tasks), *(speed(place, "sum 0", 2.0, **TOKENS) for place in (0, 1)))
    before, after = figures(results)
    there = replace(after, server="@office", has_server=True)
    day = replace(DAY, watts=15.0, prices={"@office": ListPrice(1.0, 4.0)})
    (row,) = day_rows([there], day)
    assert row.thousand == "$0.090"  # 1,000 × (10 × $1 + 20 × $4) / 1 M
    assert (row.machines, row.energy) == (units.MISSING, None)
    assert "at their list prices" in str(saving(before, there, day))
    reused = replace(day, prices={"@office": ListPrice(1.0, 4.0, cached_per_million=0.5)})
    assert before.alone is not None
    (kept,) = day_rows([replace(there, alone=replace(before.alone, cached_tokens=8.0))], reused)
    assert kept.thousand == "$0.086"  # 8 of the 10 at half the price
    (unknown,) = day_rows([there], DAY)
    assert (unknown.thousand, unknown.a_day) == (units.MISSING, units.MISSING)
    assert saving(before, there, DAY) is None
    (mixed,) = day_rows([replace(there, server=None)], day)
    assert mixed.thousand == units.MISSING


def counted(store: RunStore, joules: float | None) -> tuple[Figures, ...]:
    """The baseline's energy is counted, the candidate's is not; answers have five tokens."""
    tasks = sums(4)
    energy = {"energy_j": joules, "energy_by": "RAPL"}
    cells = [
        replace(cell, **energy) if cell.key.kind is Pass.SPEED else cell  # type: ignore[arg-type]
        for cell in answered(0, tasks, [1.0] * 4, 2.0)
    ]
    return figures(read(store, design(tasks), *cells, *answered(1, tasks, [1.0] * 4, 1.0)))


def test_energy_is_told_as_it_was_counted_or_else_estimated_and_marked(store: RunStore) -> None:
    rows = day_rows(counted(store, 40.0), replace(DAY, watts=15.0))
    alone, together, other, _ = rows
    assert (alone.energy and alone.energy.joules, alone.energy_million) == (40.0, "2.22 kWh")
    assert together.energy is not None
    assert not together.energy.measured, "a shared pass is nobody's own"
    assert together.energy.joules == pytest.approx(15 * 2.035 / 4)
    assert other.energy is not None
    assert other.energy.text == "15.3 J, estimated"
    assert other.energy_a_day == "153 kJ, estimated"
    assert energy_note(rows) == "Energy: measured, RAPL, estimated from 15 W."


def test_without_a_counter_or_a_power_energy_is_not_made_up(store: RunStore) -> None:
    rows = day_rows(counted(store, None), DAY)
    assert {row.energy for row in rows} == {None}
    assert {energy_text(row.energy) for row in rows} == {units.MISSING}
    assert "is not known" in energy_note(rows)


def test_disturbed_runs_count_for_energy_as_for_times(store: RunStore) -> None:
    cells = [
        speed(0, "sum 0", 1.0, energy_j=10.0, energy_by="NVML", **TOKENS),
        speed(0, "sum 0", 9.0, repeat=1, energy_j=90.0, energy_by="NVML", disturbed=True, **TOKENS),
    ]
    (found, _) = figures(read(store, design(sums(1), repeats=2), *cells))
    assert found.energy is not None
    assert (found.energy.joules, found.energy.provenance) == (10.0, "measured, NVML")
