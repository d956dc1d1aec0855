"""A small experiment, and what runs of it leave behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.experiments.design import Design, NamedConfiguration
from app.experiments.running import run_experiment
from app.experiments.starting import keep_design
from app.store import Cell, Pass, RunStore
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
        cell.prompt_tokens, cell.completion_tokens,
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
