"""A small experiment, and what runs of it leave behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.experiments.planning.design import Design, NamedConfiguration
from app.experiments.results.arrays import Results, results_of
from app.experiments.running.job import run_experiment
from app.experiments.running.starting import keep_design
from app.store import Cell, CellKey, Pass, RunStore
from engine import Task
from engine.errors import GearboxError
from engine.types import GenerationRequest, OptimizationConfig, Precision, RunConfig
from tests.support.fakes import FakeLabEngine

TASKS = (
    Task(id="sky", category="Facts", prompt="Why is it blue?", checker="contains", expected="sky", max_tokens=8),
    Task(id="moon", category="Facts", prompt="What is it?", checker="contains", expected="moon", max_tokens=8),
    Task(id="open", category="Chat", prompt="How are you?", max_tokens=8),
)


def configuration(name: str, precision: Precision = Precision.INT4, model: str = "small") -> NamedConfiguration:
    """A model at a precision."""
    return NamedConfiguration(name, RunConfig(model=model, optimization=OptimizationConfig.at(precision)))


BOTH = (configuration("16 bits", Precision.BF16), configuration("int4"))


def design(
    prompts: Sequence[Task] = TASKS,
    configurations: Sequence[NamedConfiguration] = BOTH,
    *,
    name: str = "Own",
    passes: Sequence[Pass] = tuple(Pass),
    repeats: int = 1,
    max_tokens: int | None = None,
) -> Design:
    """An experiment."""
    return Design(
        name=name,
        prompts=tuple(prompts),
        configurations=tuple(configurations),
        passes=tuple(passes),
        repeats=repeats,
        max_tokens=max_tokens,
    )


SHA = "a" * 64


def quality(place: int, prompt_id: str, score: float | None = None, *, repeat: int = 0, **given: object) -> Cell:
    """A cell of the quality pass."""
    key = CellKey(Pass.QUALITY, place, prompt_id, repeat)
    return replace(Cell(key=key, run_id=None, weights_sha256=SHA, score=score), **given)  # type: ignore[arg-type]


def speed(place: int, prompt_id: str, e2e_s: float | None, *, repeat: int = 0, **given: object) -> Cell:
    """A cell of the speed pass."""
    key = CellKey(Pass.SPEED, place, prompt_id, repeat)
    return replace(Cell(key=key, run_id=None, weights_sha256=SHA, e2e_s=e2e_s), **given)  # type: ignore[arg-type]


def read(store: RunStore, made: Design, *cells: Cell) -> Results:
    """What a new experiment comes to with these cells, which are not kept."""
    return results_of(store.experiments.get(keep_design(store, made)), made, cells)


def keep(store: RunStore, made: Design, *cells: Cell) -> str:
    """Keep a new experiment with these cells, and return its id."""
    id = keep_design(store, made)
    for cell in cells:
        store.experiments.keep_cell(id, cell)
    return id


def sums(count: int, categories: Sequence[str] = ("Sums",)) -> tuple[Task, ...]:
    """So many prompts with a checker, of these categories in turn."""
    return tuple(
        Task(
            id=f"sum {n}",
            category=categories[n % len(categories)],
            prompt=f"{n} + {n}?",
            checker="number",
            expected=2 * n,
            max_tokens=8,
        )
        for n in range(count)
    )


def answered(place: int, tasks: Sequence[Task], scores: Sequence[float | None], e2e_s: float = 1.0) -> list[Cell]:
    """Both passes of a configuration: the score of each prompt, ``None`` for what no checker tells, and about the same
    time each, up to 4 % more."""
    cells = []
    for n, (task, score) in enumerate(zip(tasks, scores, strict=True)):
        about = e2e_s * (1 + 0.01 * (n * (place + 2) % 5))
        tokens = {"prompt_tokens": 10, "completion_tokens": 5, "weights_bytes": 100 << 20, "kv_bytes": 1 << 20}
        cells.append(quality(place, task.id, score, e2e_s=about, mean_batch_size=4.0, **tokens))
        cells.append(speed(place, task.id, about, ttft_s=about / 4, tpot_s=about / 10, **tokens))
    return cells


class Told:
    """Notes what is reported, and calls ``at`` with each stage."""

    def __init__(self) -> None:
        self.fractions: list[float] = []
        self.stages: list[str] = []

    def __call__(self, stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        self.fractions.append(fraction)
        self.stages.append(stage)
        self.at(stage)

    def at(self, stage: str) -> None:
        """Nothing; others raise here."""


def untimed(store: RunStore, experiment_id: str) -> Mapping[object, tuple[object, ...]]:
    """All that cells say but for times, memory and which run they are, by their key."""
    return {cell.key: _lasting(cell) for cell in store.experiments.cells(experiment_id)}


def _lasting(cell: Cell) -> tuple[object, ...]:
    return (
        cell.weights_sha256, cell.failure, cell.score, cell.same_text, cell.word_f1, cell.answer_sha256,
        cell.prompt_tokens, cell.completion_tokens, cell.kld, cell.kld_tokens, cell.no_kld,
    )  # fmt: skip


class AnsweringEngine(FakeLabEngine):
    """Answers each prompt in words of its own; refuses or fails some requests."""

    def __init__(self, fails: dict[str, GearboxError] | None = None, **given: Any) -> None:
        super().__init__(**given)
        self.refusals = fails or {}

    def says(self, request: GenerationRequest) -> Sequence[str]:
        four_bits = request.config.optimization.quantization is not None
        return ("The", " sky", " of", " a" if four_bits else " the", " sea", ".")

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        return self.refusals.get(request.prompt) if request.config.optimization.quantization else None


def run(engine: FakeLabEngine, store: RunStore, made: Design, told: Told | None = None) -> str:
    """Run a new experiment, or go on with it."""
    kept = store.experiments.of_design(made.sha256)
    id = kept.id if kept else keep_design(store, made)
    run_experiment(engine, store, id, told or Told())
    return id
