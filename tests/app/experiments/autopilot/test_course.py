"""The whole course over a store: rounds are experiments, held-out prompts choose nothing, work goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.background.jobs import JobCancelled
from app.experiments.autopilot.course import read_course
from app.experiments.autopilot.evidence import Shown
from app.experiments.autopilot.goal import Figure, Goal
from app.experiments.autopilot.plan import Plan, hold_out
from app.experiments.autopilot.running import keep_plan, run_autopilot
from app.experiments.planning.design import DesignError
from app.experiments.running.weights import ExperimentError
from app.store import ExperimentState, GoneError, Pass, RunStore, Viewer
from engine import Task
from engine.errors import GearboxError, InsufficientMemoryError
from engine.types import GenerationRequest, Precision
from tests.support.experiments import AnsweringEngine, Told, configuration

TASKS = tuple(
    Task(id=f"p{n}", category="AB"[n % 2], prompt=f"Why is it {n}?", checker="contains", expected="sky", max_tokens=8)
    for n in range(36)
)


def plan(**given: object) -> Plan:
    usual = Plan(
        name="Fast enough",
        goal=Goal(figure=Figure.E2E, percentile=50, seconds=100.0, margin_points=5.0, budget_s=1e6),
        baseline=configuration("16 bits", Precision.BF16),
        candidates=(configuration("int4"), configuration("int8", Precision.INT8)),
        possible=2,
        prompts=TASKS,
        prompts_from="sums",
        held_out=hold_out(TASKS, 0),
    )
    return replace(usual, **given)  # type: ignore[arg-type]


def clock(step_s: float = 0.1) -> Callable[[], float]:
    now = 0.0

    def tell() -> float:
        nonlocal now
        now += step_s
        return now

    return tell


def run(store: RunStore, made: Plan, told: Told | None = None, step_s: float = 0.1) -> str:
    id = keep_plan(store, made)
    run_autopilot(AnsweringEngine(), store, id, told or Told(), clock=clock(step_s))
    return id


def asked(store: RunStore, experiment_id: str) -> set[str]:
    return {task.id for task in store.experiments.prompts(experiment_id)}


def test_held_out_prompts_choose_nothing_and_are_all_that_the_evidence_is_of(store: RunStore) -> None:
    made = plan()
    id = run(store, made)
    course = read_course(store, id)
    *searched, last = store.autopilots.heats(id)
    assert len(searched) == len(course.found.rounds) == 2
    assert last.experiment_id == course.evidence_id
    for heat in searched:
        assert asked(store, heat.experiment_id).isdisjoint(made.held_out)
    assert asked(store, last.experiment_id) <= made.held_out
    assert course.choice is not None
    assert course.evidence is not None
    assert course.evidence.name == course.choice.name
    assert course.evidence.prompts == len(made.held_out)


def test_it_ends_with_a_configuration_and_its_evidence(store: RunStore) -> None:
    id, told = keep_plan(store, plan()), Told()
    made = run_autopilot(AnsweringEngine(), store, id, told, clock=clock())
    kept = store.autopilots.get(id)
    assert (kept.state, kept.error) == (ExperimentState.DONE, None)
    assert made.choice is not None
    assert made.evidence is not None
    assert [each.limit for each in made.evidence.limits] == ["latency", "quality"]
    assert made.evidence.limits[0].shown is Shown.KEPT
    assert read_course(store, id).evidence == made.evidence
    assert told.fractions == sorted(told.fractions)
    assert told.fractions[-1] == 1.0


def test_its_experiments_are_not_among_the_others(store: RunStore) -> None:
    id = run(store, plan())
    assert store.experiments.all() == ()
    assert [each.id for each in store.autopilots.all()] == [id]
    store.autopilots.delete(id)
    assert store.autopilots.all() == ()
    with pytest.raises(GoneError):
        store.autopilots.heats(id)


def test_cancelled_anywhere_it_goes_on_and_comes_to_the_same(store: RunStore) -> None:
    class Cancelled(Told):
        def at(self, stage: str) -> None:
            if len(self.stages) > 100:
                raise JobCancelled

    id, engine = keep_plan(store, plan()), AnsweringEngine()
    cancelled = 0
    while store.autopilots.get(id).state is not ExperimentState.DONE:
        try:
            run_autopilot(engine, store, id, Cancelled(), clock=clock())
        except JobCancelled:
            cancelled += 1
            assert store.autopilots.get(id).state is ExperimentState.PAUSED
            read_course(store, id)
    assert cancelled > 1
    again = read_course(store, id)
    whole = read_course(store, run(store, plan()))
    assert [each.block for each in again.found.rounds] == [each.block for each in whole.found.rounds]
    cells = sum(store.experiments.get(heat.experiment_id).cells for heat in store.autopilots.heats(id))
    assert len(engine.requests) - cells <= cancelled * 12, "what has an answer is not asked again"


def test_the_budget_is_kept_and_what_was_not_come_to_is_said(store: RunStore) -> None:
    made = plan(goal=replace(plan().goal, budget_s=20.0))
    course = read_course(store, run(store, made, step_s=0.2))
    spent = sum(heat.seconds for heat in store.autopilots.heats(store.autopilots.all()[0].id))
    assert spent <= 20 + 1
    assert course.found.stopped or course.without_evidence or course.evidence
    assert store.autopilots.all()[0].state is ExperimentState.DONE


def test_where_none_will_do_no_held_out_prompt_is_asked(store: RunStore) -> None:
    id = run(store, plan(goal=replace(plan().goal, seconds=1e-9)))
    course = read_course(store, id)
    assert course.choice is not None
    assert course.choice.name is None
    assert course.choice.nearest
    for heat in store.autopilots.heats(id):
        assert asked(store, heat.experiment_id).isdisjoint(plan().held_out)


class TooLarge(AnsweringEngine):
    """Cannot hold one of the models."""

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        return InsufficientMemoryError("It is too large.") if request.config.model == "huge" else None


def test_a_candidate_that_cannot_answer_here_is_out_and_the_others_go_on(store: RunStore) -> None:
    huge = configuration("huge", Precision.INT8, "huge")
    id = keep_plan(store, plan(candidates=(huge, configuration("int4"))))
    made = run_autopilot(TooLarge(), store, id, Told(), clock=clock())
    assert store.autopilots.get(id).state is ExperimentState.DONE
    assert made.found.readings["huge"].latency_s == float("inf")
    assert "huge" not in made.found.alive
    assert made.evidence is not None
    again = read_course(store, id)
    assert (again.found.rounds, again.choice, again.evidence) == (made.found.rounds, made.choice, made.evidence)


def test_a_baseline_that_cannot_answer_here_ends_it_with_the_reason(store: RunStore) -> None:
    huge = configuration("huge", Precision.INT8, "huge")
    id = keep_plan(store, plan(baseline=huge))
    with pytest.raises(ExperimentError, match="too large"):
        run_autopilot(TooLarge(), store, id, Told(), clock=clock())
    kept = store.autopilots.get(id)
    assert kept.state is ExperimentState.FAILED
    assert "too large" in (kept.error or "")


def test_others_do_not_see_it(store: RunStore) -> None:
    mine = store.seen_by(Viewer("me", sees_all=False))
    id = keep_plan(mine, plan())
    other = store.seen_by(Viewer("you", sees_all=False))
    assert (len(mine.autopilots.all()), other.autopilots.all()) == (1, ())
    with pytest.raises(GoneError):
        read_course(other, id)


def test_prompts_that_nothing_scores_are_refused() -> None:
    bare = tuple(replace(task, checker=None, expected=None) for task in TASKS)
    with pytest.raises(DesignError, match="nothing could tell whether quality is kept"):
        plan(prompts=bare)


def test_about_half_of_each_category_is_held_out_and_templates_stay_together() -> None:
    tasks = [replace(task, template=f"t{n // 6}") for n, task in enumerate(TASKS)]
    held = hold_out(tasks, 1)
    assert hold_out(tasks, 1) == held
    for category in "AB":
        ids = [task.id for task in tasks if task.category == category]
        assert 5 <= len(held.intersection(ids)) <= 13
    for template in {(task.category, task.template) for task in tasks}:
        ids = [task.id for task in tasks if (task.category, task.template) == template]
        assert len(held.intersection(ids)) in (0, len(ids))


def test_a_plan_comes_back_as_it_was_kept(store: RunStore) -> None:
    made = plan(max_tokens=32)
    id = keep_plan(store, made)
    assert Plan.from_dict(store.autopilots.get(id).plan, store.autopilots.prompts(id)) == made


def test_answers_are_asked_for_once_and_older_autopilots_are_found_again(store: RunStore) -> None:
    course = read_course(store, run(store, plan()))
    evidence = store.experiments.cells(course.evidence_id or "")
    assert {cell.key.kind for cell in evidence} == {Pass.SPEED}
    kept = plan().to_dict()
    del kept["passes"]  # kept before there was a choice
    assert Plan.from_dict(kept, TASKS).passes == (Pass.QUALITY, Pass.SPEED)
