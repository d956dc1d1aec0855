"""On real weights: `kill -9` amid a measurement changes neither the rounds nor asks anything twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.experiments.autopilot.course import Course, read_course
from app.experiments.autopilot.goal import Figure, Goal
from app.experiments.autopilot.plan import Plan, hold_out
from app.experiments.autopilot.running import keep_plan, run_autopilot
from app.store import CellKey, ExperimentState, RunFilter, RunStatus, RunStore
from engine import MIXED_FILE, Engine, load_tasks
from engine.types import Precision
from tests.conftest import REPOSITORY, SMALL
from tests.support.experiments import Told, configuration

_RUN = """
import sys
from pathlib import Path
from app.experiments.autopilot.running import run_autopilot
from app.store import RunStore
from engine import Engine

def report(stage, fraction, /, *, loading=None):
    print(stage, flush=True)

run_autopilot(Engine(Path(sys.argv[1])), RunStore.open(sys.argv[2]), sys.argv[3], report)
"""


def plan(name: str) -> Plan:
    """Two candidates of which both go on, so that their times decide nothing of the rounds."""
    tasks = [task for task in load_tasks(MIXED_FILE) if task.checker == "contains"][:24]
    return Plan(
        name=name,
        goal=Goal(figure=Figure.E2E, percentile=50, seconds=600, margin_points=99, budget_s=3_000),
        baseline=configuration("plain", Precision.BF16, SMALL),
        candidates=(configuration("int8", Precision.INT8, SMALL), configuration("int4", Precision.INT4, SMALL)),
        possible=2,
        prompts=tuple(tasks),
        prompts_from="mixed",
        held_out=hold_out(tasks, 0),
        max_tokens=6,
    )


def killed_at(words: tuple[str, ...], models_dir: Path, file: Path, id: str) -> None:
    """Run it in a process of its own, until it says these in one stage."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(models_dir), f"sqlite:///{file}", id],
        cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert any(all(word in line for word in words) for line in process.stdout), f"it ended before {words}"
    finally:
        process.kill()
        process.communicate()


def rounds(course: Course) -> list[tuple[tuple[str, ...], set[str]]]:
    """The prompts of each, and who took part."""
    return [(tuple(each.block), {reading.name for reading in each.readings}) for each in course.found.rounds]


@pytest.mark.slow
def test_killed_amid_a_heat_it_comes_to_the_same_rounds_and_asks_no_cell_twice(
    engine: Engine, models_dir: Path, store: RunStore, file: Path
) -> None:
    whole, id = keep_plan(store, plan("Whole")), keep_plan(store, plan("Killed"))
    run_autopilot(engine, store, whole, Told())
    for words in (("Searching", "Speed · int8"), ("Searching", "Speed · int4"), ("Evidence", "Speed")):
        killed_at(words, models_dir, file, id)
        kept = store.autopilots.get(id)
        assert (kept.state, kept.under_way) == (ExperimentState.RUNNING, None)
    store.look_around()
    run_autopilot(engine, store, id, Told())
    assert store.autopilots.get(id).state is ExperimentState.DONE
    undisturbed, course = read_course(store, whole), read_course(store, id)
    assert rounds(course) == rounds(undisturbed)
    assert course.choice is not None
    assert course.evidence is not None
    for heat in store.autopilots.heats(id):
        made = store.experiments.get(heat.experiment_id)
        assert made.state is ExperimentState.DONE
        cells = {cell.run_id: cell.key for cell in store.experiments.cells(made.id)}
        finished = store.page(RunFilter(group_id=made.id, statuses=(RunStatus.FINISHED,)), limit=500)
        for record in store.get_many([row.id for row in finished.rows]):
            disturbed = record.disturbance is not None and record.disturbance.is_disturbed
            assert record.id in cells or disturbed, "no finished cell is asked again"
            assert CellKey.from_metadata(record.metadata) in cells.values()
