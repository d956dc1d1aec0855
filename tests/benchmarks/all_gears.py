"""Every gear alone and all of them together, against transformers' own ``generate``, end to end."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.runs.prompts import load_prompts
from app.settings import REPOSITORY
from engine import Engine
from engine.cascade import KeepQuality, read_prompts, select
from engine.evaluation.tasks import MIXED_FILE, Task, check, load_tasks
from engine.types import (
    Backend,
    CacheMode,
    CascadeConfig,
    Message,
    OptimizationConfig,
    Precision,
    RunFinished,
    SpeculationConfig,
    Tier,
)
from tests.benchmarks.asking import ask
from tests.benchmarks.chat import TURNS
from tests.benchmarks.speculation import PROMPTS
from tests.benchmarks.table import Row

MODEL, SMALL = "qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b"
PAIRS = REPOSITORY / "data" / "pairs" / "mixed.jsonl"
KEPT = KeepQuality(0.95)
"""What the cascade's threshold is chosen for, on recorded pairs; the tasks are of the half that did not choose it."""
NEW_TOKENS = 32
PER_CATEGORY = 2
"""Prompts of the mixed set."""
TASKS_PER_CATEGORY = 4


class Categorised(Protocol):
    """A prompt, of one kind or another."""

    @property
    def category(self) -> str:
        """Which."""
        ...


_T = TypeVar("_T", bound=Categorised)


@dataclass(slots=True)
class Lane:
    """One setting, and what it took."""

    name: str
    gears: OptimizationConfig
    backend: Backend = Backend.LOCAL
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Of each answer, queueing and loading left out, by part."""
    tokens: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    right: int = 0
    went_up: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Answers for which the larger tier was asked after the smaller one."""
    history: tuple[Message, ...] = ()
    last_tier: str | None = None
    """Of a cascade, who answered the chat's last turn: its next ones stay there."""

    def ask(
        self, engine: Engine, part: str, messages: tuple[Message, ...], max_tokens: int, *, cold: bool = True
    ) -> RunFinished:
        """One answer, measured."""
        run_, metrics = ask(
            engine,
            MODEL,
            messages,
            self.gears,
            max_tokens,
            salt=self.name,
            cold=cold,
            backend=self.backend,
            last_tier=None if cold else self.last_tier,
        )
        self.last_tier = run_.cascade.tier if run_.cascade else None
        self.seconds[part].append(metrics.e2e_s - metrics.queue_s)
        self.tokens[part].append(metrics.completion_tokens)
        self.went_up[part] += bool(run_.cascade and len(run_.cascade.attempts) > 1)
        return run_


def run(models_dir: Path) -> list[Row]:
    """Seconds from question to last token: over prompts of every kind at equal token counts, over tasks with an answer
    to check, and over a chat of ten turns. The lanes take each prompt in turn.

    In the chat each lane goes on from its own answers, as a user's chat would.
    """
    threshold, tasks = _calibrated()
    print(f"escalating at {threshold:.3f}; {len(tasks)} tasks")
    lanes = _lanes(threshold)
    with closing(Engine(models_dir)) as engine:
        for lane in lanes:
            lane.ask(engine, "warm-up", (Message("user", "Hi"),), 8)
        for prompt in _some(load_prompts(PROMPTS), PER_CATEGORY):
            for lane in lanes:
                lane.ask(engine, "mixed", (Message("user", prompt.prompt),), NEW_TOKENS)
        for task in tasks:
            for lane in lanes:
                answer = lane.ask(engine, "tasks", (Message("user", task.prompt),), task.max_tokens)
                lane.right += check(task, answer.text)
        for lane in lanes:
            lane.last_tier = None
        for turn in TURNS:
            for lane in lanes:
                lane.history = (*lane.history, Message("user", turn))
                answer = lane.ask(engine, "chat", lane.history, NEW_TOKENS, cold=False)
                lane.history = (*lane.history, Message("assistant", answer.text, answer.token_ids))
    return [_row(lane, lanes[0], len(tasks)) for lane in lanes]


def _lanes(threshold: float) -> tuple[Lane, ...]:
    def cascade(precision: Precision) -> CascadeConfig:
        return CascadeConfig(smaller=(Tier(model=SMALL, precision=precision),), thresholds=(threshold,), keep_tier=True)

    bf16, int4, drafting = Precision.BF16, Precision.INT4, SpeculationConfig()
    return (
        Lane("reference", OptimizationConfig(), Backend.REFERENCE),
        Lane("no gear", OptimizationConfig()),
        Lane("quantization", OptimizationConfig.at(int4)),
        Lane("KV caching", OptimizationConfig.at(bf16, CacheMode.PREFIX)),
        Lane("speculation", OptimizationConfig.at(bf16, speculation=drafting)),
        Lane("cascade", OptimizationConfig.at(bf16, cascade=cascade(bf16))),
        Lane("all but the cascade", OptimizationConfig.at(int4, CacheMode.PREFIX, speculation=drafting)),
        Lane("all", OptimizationConfig.at(int4, CacheMode.PREFIX, speculation=drafting, cascade=cascade(int4))),
    )


def _calibrated() -> tuple[float, tuple[Task, ...]]:
    """The cascade's threshold, and tasks that had no part in choosing it. Code is left out: its checks take their own
    time."""
    study = Study.of(
        read_prompts(PAIRS),
        Tier(model=SMALL, precision=Precision.INT4).key,
        Tier(model=MODEL, precision=Precision.INT4).key,
        Choice.ESCALATE,
    )
    reporting = set(study.reporting().data.ids)
    tasks = [task for task in load_tasks(MIXED_FILE) if task.id in reporting and task.checker != "code"]
    return select(study.data, KEPT).threshold, tuple(_some(tasks, TASKS_PER_CATEGORY))


def _some(things: Sequence[_T], count: int) -> list[_T]:
    """So many of each category, spread over it."""
    by_category: dict[str, list[_T]] = defaultdict(list)
    for thing in things:
        by_category[thing.category].append(thing)
    return [thing for found in by_category.values() for thing in found[:: max(1, len(found) // count)][:count]]


def _row(lane: Lane, base: Lane, tasks: int) -> Row:
    row: Row = {"lane": lane.name, "model": MODEL}
    for part in ("mixed", "tasks", "chat"):
        total = sum(lane.seconds[part])
        row[f"{part}_s"] = total
        row[f"{part}_tokens"] = sum(lane.tokens[part])
        row[f"{part}_speedup_per_token"] = statistics.median(
            (theirs / their_tokens) / (mine / my_tokens)
            for theirs, their_tokens, mine, my_tokens in zip(
                base.seconds[part], base.tokens[part], lane.seconds[part], lane.tokens[part], strict=True
            )
        )
        row[f"{part}_speedup"] = sum(base.seconds[part]) / total
        row[f"{part}_went_up"] = lane.went_up[part] if lane.gears.cascade else None
    row["right"] = f"{lane.right} of {tasks}"
    return row
