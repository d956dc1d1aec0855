"""On real weights: a small course to its end."""

from __future__ import annotations

import pytest

from app.experiments.autopilot.course import read_course
from app.experiments.autopilot.goal import Figure, Goal
from app.experiments.autopilot.plan import Plan, hold_out
from app.experiments.autopilot.running import keep_plan, run_autopilot
from app.experiments.autopilot.space import Gear, Space, candidates
from app.experiments.planning.design import NamedConfiguration
from app.prompts.choosing import stratified
from app.store import ExperimentState, RunStore
from engine import MIXED_FILE, Engine, load_tasks
from engine.types import Precision, RunConfig
from tests.conftest import SMALL
from tests.support.experiments import Told


@pytest.mark.slow
def test_a_course_ends_with_a_configuration_within_limits_that_it_was_measured_to_keep(
    engine: Engine, store: RunStore
) -> None:
    tasks = stratified(load_tasks(MIXED_FILE.with_name("tasks.jsonl")), 32, 0)
    baseline = RunConfig(model=SMALL)
    space = Space(models=(SMALL,), precisions=(Precision.INT8, Precision.INT4), gears=(Gear.SPECULATION,))
    plan = Plan(
        name="Small",
        goal=Goal(figure=Figure.E2E, percentile=50, seconds=600, margin_points=99, budget_s=3_000),
        baseline=NamedConfiguration("plain", baseline),
        candidates=candidates(space, baseline, most=4).configurations,
        possible=4,
        prompts=tasks,
        prompts_from="tasks",
        held_out=hold_out(tasks, 0),
        max_tokens=8,
    )
    id = keep_plan(store, plan)
    course = run_autopilot(engine, store, id, Told())
    assert store.autopilots.get(id).state is ExperimentState.DONE
    assert not course.found.not_reached
    assert course.choice is not None
    assert course.evidence is not None
    fastest = min(
        (course.found.readings[name] for name in [*course.found.alive, "plain"]),
        key=lambda each: each.latency_s or 0.0,
    )
    assert course.choice.name == fastest.name
    assert course.evidence.prompts >= 4
    assert all(reading.memory_bytes for reading in course.found.readings.values())
    plain = course.found.readings["plain"].memory_bytes or 0.0
    four_bits = course.found.readings[f"{SMALL} int4"].memory_bytes or 0.0
    assert four_bits < plain
    assert read_course(store, id).evidence == course.evidence
