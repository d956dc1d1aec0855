"""Every gear alone and all of them together, against transformers' own ``generate``, end to end."""

from __future__ import annotations

import statistics
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from app.prompts import load_prompts
from engine import Engine
from engine.evaluation.tasks import MIXED_FILE, Task, check, load_tasks
from engine.types import (
    Backend,
    CacheMode,
    CascadeConfig,
    Message,
    OptimizationConfig,
    Precision,
    RouterKind,
    SpeculationConfig,
    Tier,
)
from tests.benchmarks.asking import ask
from tests.benchmarks.chat import TURNS
from tests.benchmarks.speculation import PROMPTS
from tests.benchmarks.table import Row

MODEL = "qwen2.5-coder-0.5b"
SMALL = Tier(model="smollm2-135m", precision=Precision.INT4)
NEW_TOKENS, TURN_TOKENS = 48, 40
TASKS = 42
THRESHOLD = 0.25
CASCADE = CascadeConfig(smaller=(SMALL,), router=RouterKind.ESCALATE, thresholds=(THRESHOLD,), after_tokens=8)


@dataclass(frozen=True, slots=True)
class Lane:
    """One setting."""

    name: str
    gears: OptimizationConfig
    backend: Backend = Backend.LOCAL


LANES = (
    Lane("reference", OptimizationConfig(), Backend.REFERENCE),
    Lane("no gear", OptimizationConfig()),
    Lane("quantization", OptimizationConfig.at(Precision.INT4)),
    Lane("KV caching", OptimizationConfig.at(Precision.BF16, CacheMode.PREFIX)),
    Lane("speculation", OptimizationConfig.at(Precision.BF16, speculation=SpeculationConfig())),
    Lane("cascade", OptimizationConfig.at(Precision.BF16, cascade=CASCADE)),
    Lane(
        "all",
        OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX, speculation=SpeculationConfig(), cascade=CASCADE),
    ),
)


def run(models_dir: Path) -> list[Row]:
    """Seconds from question to last token, at equal token counts and at the tasks' score; lane by lane.

    A chat's turns carry the lane's own answers along, as a user's chat would.
    """
    rows: list[Row] = []
    with closing(Engine(models_dir)) as engine:
        for lane in LANES:
            rows.append(
                {
                    "model": MODEL,
                    "lane": lane.name,
                    **_mixed(engine, lane),
                    **_tasks(engine, lane),
                    **_chat(engine, lane),
                }
            )
    base = rows[0]
    for row in rows:
        for part in ("mixed", "tasks", "chat"):
            row[f"{part}_speedup"] = base[f"{part}_s_per_token"] / row[f"{part}_s_per_token"]
    return rows


def _mixed(engine: Engine, lane: Lane) -> Row:
    """Seconds a token over the mixed set: the same number of tokens asked of every lane."""
    ask(engine, MODEL, (Message("user", "Hi"),), lane.gears, 8, backend=lane.backend)
    per_token = []
    for prompt in load_prompts(PROMPTS):
        _, metrics = ask(engine, MODEL, (Message("user", prompt.prompt),), lane.gears, NEW_TOKENS, backend=lane.backend)
        per_token.append((metrics.e2e_s - metrics.queue_s) / metrics.completion_tokens)
    return {"mixed_s_per_token": statistics.median(per_token)}


def _tasks(engine: Engine, lane: Lane) -> Row:
    """Score and seconds a token on tasks with an answer to check."""
    right, seconds, tokens = 0, 0.0, 0
    for task in _spread(load_tasks(MIXED_FILE)):
        run_, metrics = ask(
            engine, MODEL, (Message("user", task.prompt),), lane.gears, task.max_tokens, backend=lane.backend
        )
        right += check(task, run_.text)
        seconds += metrics.e2e_s - metrics.queue_s
        tokens += metrics.completion_tokens
    return {"tasks_right": f"{right} of {TASKS}", "tasks_s": seconds, "tasks_s_per_token": seconds / tokens}


def _spread(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Every so many, code left out: its checks take their own time."""
    simple = [task for task in tasks if task.checker != "code"]
    return tuple(simple[:: len(simple) // TASKS][:TASKS])


def _chat(engine: Engine, lane: Lane) -> Row:
    """Ten turns; what is kept of a turn may be reused by the next."""
    history: tuple[Message, ...] = ()
    seconds, tokens = 0.0, 0
    for turn in TURNS:
        history = (*history, Message("user", turn))
        run_, metrics = ask(
            engine, MODEL, history, lane.gears, TURN_TOKENS, salt=lane.name, cold=False, backend=lane.backend
        )
        history = (*history, Message("assistant", run_.text, run_.token_ids))
        seconds += metrics.e2e_s - metrics.queue_s
        tokens += metrics.completion_tokens
    return {"chat_s": seconds, "chat_s_per_token": seconds / tokens}
