"""What an experiment takes beside the answers: opening it and looking at a part of it, the harness between answers, and
how much sooner the quality pass has answered than one prompt after the other."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from app.experiments.planning.design import Design, NamedConfiguration
from app.experiments.results.arrays import Measure, Results, read_results
from app.experiments.results.figures import figures_of
from app.experiments.running.job import run_experiment
from app.experiments.running.starting import keep_design
from app.experiments.verdicts.decision import decide
from app.prompts.choosing import stratified
from app.store import Cell, CellKey, Pass, RunFilter, RunRecord, RunStore
from engine import MIXED_FILE, Engine, Task, load_tasks
from engine.types import OptimizationConfig, Precision, RunConfig
from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread, timed

PROMPTS, CONFIGURATIONS = 2_000, 5
"""10,000 runs."""
REPEATS = 5
ANSWERED = 32
MODEL = "qwen2.5-coder-0.5b"
_CATEGORIES = 10


def run(models_dir: Path) -> list[Row]:
    """Rows of ``operation, median_s, spread`` for a large experiment, then of ``pass, answers, seconds`` for a real
    one."""
    with _store() as store:
        experiment_id = fill(store, PROMPTS, CONFIGURATIONS)
        results = read_results(store, experiment_id)
        found = [
            {"operation": name, "cells": len(results.cells), **timed(operation, REPEATS)}
            for name, operation in _operations(store, experiment_id, results).items()
        ]
    return [*found, *answered(models_dir)]


def fill(store: RunStore, prompts: int, configurations: int, *, seed: int = 0) -> str:
    """Keep a made-up experiment, and return its id."""
    chance = random.Random(seed)
    tasks = [
        Task(
            id=f"prompt-{number}",
            category=f"category {number % _CATEGORIES}",
            prompt="How many legs has a spider?",
            checker="number",
            expected=8,
            max_tokens=16,
        )
        for number in range(prompts)
    ]
    design = _design("large", tasks, [Precision.BF16] * configurations, (Pass.QUALITY, Pass.SPEED))
    experiment_id = keep_design(store, design)
    for number, task in enumerate(tasks):
        for place in range(configurations):
            kind = (Pass.QUALITY, Pass.SPEED)[number % 2]
            for each in {kind, Pass.QUALITY} if place < 2 else {kind}:
                store.experiments.keep_cell(experiment_id, _cell(CellKey(each, place, task.id, 0), chance))
    return experiment_id


def answered(models_dir: Path) -> list[Row]:
    """The same prompts in the quality pass and in the speed pass of one experiment. What lies between the speed pass'
    answers is the harness': all of it, as a share of them, and of one answer the median."""
    tasks, both = stratified(load_tasks(MIXED_FILE), ANSWERED, 0), tuple(Pass)
    with closing(Engine(models_dir)) as engine, _store() as store:
        warm = keep_design(store, _design("warm", tasks[:2], [Precision.INT4], both))
        run_experiment(engine, store, warm, _Stages())
        experiment_id, stages = keep_design(store, _design("real", tasks, [Precision.INT4], both)), _Stages()
        run_experiment(engine, store, experiment_id, stages)
        quality_s = stages.begun["Speed"] - stages.begun["Quality"]
        speed_s = stages.begun["Done"] - stages.begun["Speed"]
        runs = _timed_runs(store, experiment_id)
    took = [run.metrics.e2e_s for run in runs if run.metrics]
    begun = [run.created_at.timestamp() for run in runs]
    gaps = [after - before - s for (before, after), s in zip(pairwise(begun), took, strict=False)]
    return [
        {"pass": "quality", "answers": len(tasks), "seconds": quality_s, "sooner": speed_s / quality_s},
        {
            "pass": "speed",
            "answers": len(runs),
            "seconds": speed_s,
            "harness": speed_s / sum(took) - 1,
            "median_gap_s": median(gaps),
            "gap_spread": spread(gaps),
        },
    ]


def _timed_runs(store: RunStore, experiment_id: str) -> list[RunRecord]:
    """In their order; those that were disturbed, and made once more, among them."""
    ids = [row.id for row in store.page(RunFilter(group_id=experiment_id), limit=4 * ANSWERED).rows]
    timed = [run for run in store.get_many(ids) if run.metadata["pass"] == Pass.SPEED]
    return sorted(timed, key=lambda run: run.created_at)


def _operations(store: RunStore, experiment_id: str, results: Results) -> dict[str, Callable[[], object]]:
    every = np.ones(len(results.prompt_ids), dtype=bool)
    part = np.array(results.categories) != "category 3"

    def look(among: np.ndarray) -> object:
        return decide(results, 1, margin=0.02, among=among), figures_of(results, Measure.CHECKER, among)

    return {
        "open": lambda: read_results(store, experiment_id),
        "decide": lambda: look(every),
        "decide on a part": lambda: look(part),
    }


def _design(name: str, tasks: Sequence[Task], precisions: Sequence[Precision], passes: tuple[Pass, ...]) -> Design:
    return Design(
        name=name,
        prompts=tuple(tasks),
        configurations=tuple(
            NamedConfiguration(
                f"{precision} {place}", RunConfig(model=MODEL, optimization=OptimizationConfig.at(precision))
            )
            for place, precision in enumerate(precisions)
        ),
        passes=passes,
    )


def _cell(key: CellKey, chance: random.Random) -> Cell:
    ttft_s, tokens = chance.lognormvariate(-2, 0.5), chance.randrange(2, 16)
    return Cell(
        key=key,
        run_id=None,
        weights_sha256="0" * 64,
        score=float(chance.random() < 0.6 + 0.02 * key.configuration),
        answer_sha256="0" * 64,
        disturbed=False,
        e2e_s=ttft_s + 0.02 * tokens,
        ttft_s=ttft_s,
        tpot_s=0.02,
        prompt_tokens=30,
        cached_tokens=0,
        completion_tokens=tokens,
        weights_bytes=98_000_000,
        kv_bytes=1_000_000,
        peak_rss_bytes=900_000_000,
        mean_batch_size=5.0 if key.kind is Pass.QUALITY else 1.0,
    )


@contextmanager
def _store() -> Iterator[RunStore]:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(RunStore.open(f"sqlite:///{Path(folder) / 'gearbox.db'}")) as store,
    ):
        yield store


class _Stages:
    """Notes when each kind of stage began."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}

    def __call__(self, stage: str, fraction: float, /, *, loading: float | None = None) -> None:
        self.begun.setdefault(stage.partition(" · ")[0], time.perf_counter())
