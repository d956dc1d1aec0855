"""On real weights: the tokens that each prompt gets alone, and the same table after `kill -9`."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.background.jobs import JobCancelled
from app.experiments.planning.design import Design, NamedConfiguration
from app.experiments.running.job import run_experiment
from app.experiments.running.starting import keep_design
from app.experiments.running.weights import ExperimentError
from app.runs.answers import answer_unkept
from app.store import ExperimentState, Pass, RunFilter, RunStatus, RunStore
from engine import Engine, Task
from engine.types import Drafter, OptimizationConfig, Precision, RunConfig, SpeculationConfig
from tests.conftest import REPOSITORY, SMALL
from tests.support.experiments import Told, configuration, design, untimed
from tests.support.tiny import make_tiny_checkpoint

PROMPTS = tuple(
    Task(id=f"p{n}", category="AB"[n % 2], prompt=text, checker=checker, expected=expected, max_tokens=6 + n)
    for n, (text, checker, expected) in enumerate(
        [
            ("What is 2 + 2? Reply with the number.", "number", 4),
            ("Name a colour.", None, None),
            ("What is the capital of France?", "contains", "Paris"),
            ("Count from one to five.", None, None),
            ("Say hello.", "contains", "hello"),
            ("What do bees make?", "contains", "honey"),
        ]
    )
)


def three(model: str) -> tuple[NamedConfiguration, ...]:
    """Two precisions, and drafts beside the first."""
    drafting = OptimizationConfig.at(Precision.INT8, speculation=SpeculationConfig(drafter=Drafter.NGRAM))
    return (
        configuration("int8", Precision.INT8, model),
        configuration("int4", Precision.INT4, model),
        NamedConfiguration("int8 with n-grams", RunConfig(model=model, optimization=drafting)),
    )


_RUN = """
import sys
from pathlib import Path
from app.experiments.running.job import run_experiment
from app.store import RunStore
from engine import Engine

def report(stage, fraction, /, *, loading=None):
    print(stage, flush=True)

run_experiment(Engine(Path(sys.argv[1])), RunStore.open(sys.argv[2]), sys.argv[3], report)
"""


def run(engine: Engine, store: RunStore, made: Design) -> str:
    id = keep_design(store, made)
    run_experiment(engine, store, id, Told())
    return id


@pytest.mark.parametrize("model", ["tiny", pytest.param(SMALL, marks=pytest.mark.slow)])
def test_every_answer_is_the_one_that_its_prompt_gets_alone(
    model: str, models_dir: Path, tiny_models_dir: Path, store: RunStore
) -> None:
    made, tasks = design(PROMPTS, three(model)), {task.id: task for task in PROMPTS}
    with closing(Engine(tiny_models_dir if model == "tiny" else models_dir)) as engine:
        id = run(engine, store, made)
        cells = store.experiments.cells(id)
        assert len(cells) == made.cells == 36
        assert not any(cell.failed for cell in cells)
        for cell in cells:
            request = replace(made.request(cell.key, tasks[cell.key.prompt_id], "alone"), exclusive=True)
            alone = answer_unkept(engine, request, lambda run: None)
            timeline = store.timeline(cell.run_id or "")
            assert timeline is not None
            assert [event.token_id for event in timeline.to_events()] == list(alone.token_ids)
        assert {cell.weights_sha256 for cell in cells} == {engine.weights_sha256(model)}
    assert {cell.mean_batch_size for cell in cells if cell.key.kind is Pass.SPEED} <= {None, 1.0}
    lossless = [cell.same_text for cell in cells if cell.key.configuration == 2 and cell.same_text is not None]
    assert lossless == [True, True], "drafts change no token"


@pytest.mark.slow
@pytest.mark.parametrize("kills", [("int8 · answer 3", "int4 · answer 2", "Speed · int4"), ("Speed",) * 3])
def test_killed_and_gone_on_with_it_comes_to_the_same_as_undisturbed(
    kills: tuple[str, ...], engine: Engine, models_dir: Path, store: RunStore, file: Path
) -> None:
    made = design(PROMPTS, three(SMALL)[:2])
    whole, id = run(engine, store, replace(made, name="Whole")), keep_design(store, made)
    for stage in kills:
        before = store.experiments.get(id).cells
        with running(models_dir, file, id) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if stage in line:
                    break
            else:
                pytest.fail(f"it ended before {stage}")
            if before == store.experiments.get(id).cells:  # let something be done each time
                process.stdout.readline()
        assert store.experiments.get(id).state is ExperimentState.RUNNING
    store.look_around()
    finished = RunFilter(group_id=id, statuses=(RunStatus.FINISHED,))
    before = store.page(finished).total
    run_experiment(engine, store, id, Told())
    assert untimed(store, id) == untimed(store, whole)
    cells = {cell.run_id for cell in store.experiments.cells(id)}
    again = {
        record.id
        for record in store.get_many([row.id for row in store.page(finished, limit=500).rows])
        if record.id not in cells and record.disturbance and record.disturbance.is_disturbed
    }
    assert store.page(finished).total == len(cells) + len(again), "no finished cell is asked again"
    assert before < store.page(finished).total


class running:  # noqa: N801 (reads as a verb)
    """A process that runs an experiment, killed at the end of the block."""

    def __init__(self, models_dir: Path, file: Path, experiment_id: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(models_dir), f"sqlite:///{file}", experiment_id],
            cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    make_tiny_checkpoint(folder / "tiny", "qwen2", max_position_embeddings=128)
    return folder


def test_prompts_that_a_model_cannot_take_are_counted(folder: Path, store: RunStore) -> None:
    long = replace(PROMPTS[2], id="long", prompt="What of this? " * 60)
    made = design([*PROMPTS, long], [configuration("tiny", Precision.INT8, "tiny")], max_tokens=4)
    with closing(Engine(folder)) as engine:
        id = run(engine, store, made)
    failed = [cell for cell in store.experiments.cells(id) if cell.failed]
    assert [(cell.key.prompt_id, cell.key.kind) for cell in failed] == [("long", Pass.QUALITY), ("long", Pass.SPEED)]
    assert all("tokens too long" in (cell.failure or "") for cell in failed)
    assert store.experiments.get(id).cells == 14


def test_a_model_that_is_installed_anew_half_way_is_refused(folder: Path, store: RunStore) -> None:
    class Paused(Told):
        def at(self, stage: str) -> None:
            if stage.startswith("Speed"):
                raise JobCancelled

    made = design(PROMPTS, [configuration("tiny", Precision.INT8, "tiny")], max_tokens=4)
    id = keep_design(store, made)
    with closing(Engine(folder)) as engine, pytest.raises(JobCancelled):
        run_experiment(engine, store, id, Paused())
    make_tiny_checkpoint(folder / "tiny", "qwen2", max_position_embeddings=128, seed=1)
    before = store.experiments.cells(id)
    with closing(Engine(folder)) as engine, pytest.raises(ExperimentError, match="tiny are not those"):
        run_experiment(engine, store, id, Told())
    assert store.experiments.cells(id) == before
    assert store.experiments.get(id).state is ExperimentState.FAILED
