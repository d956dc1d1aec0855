"""How good a judge a model is: what it says of recorded answers, against what their checkers say."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from app.prompts.choosing import shares_of
from app.settings import REPOSITORY
from engine import Engine, Graded, Verdict, load_tasks, verdict_of
from engine.cascade import read_prompts
from engine.cascade.reporting.figures import count_of
from engine.evaluation.tasks import MIXED_FILE, Task
from engine.types import Precision, Tier, TokenEvent
from tests.benchmarks.table import Row

PAIRS = REPOSITORY / "data" / "pairs" / "mixed.jsonl"
JUDGE = "qwen2.5-coder-0.5b"
ANSWERS = 40


def run(models_dir: Path) -> list[Row]:
    """A row without references and one with them: the same answers, right and wrong ones in equal numbers."""
    tasks = {task.id: task for task in load_tasks(MIXED_FILE)}
    answers = sampled(tasks)
    judge = Tier(model=JUDGE, precision=Precision.INT4)
    rows = []
    with closing(Engine(models_dir)) as engine:
        for with_reference in (False, True):
            said: list[tuple[bool, Verdict]] = []
            for task, text, right in answers:
                graded = Graded(task.prompt, text, reference(task) if with_reference else None)
                events = engine.generate(graded.request(judge))
                said.append((right, verdict_of([event for event in events if isinstance(event, TokenEvent)])))
            rows.append({"judge": str(judge), "reference": with_reference, **agreement(said)})
    return rows


def sampled(tasks: Mapping[str, Task], count: int = ANSWERS) -> list[tuple[Task, str, bool]]:
    """Recorded answers whose checkers are sure, of all tiers: half of them right, each category with its share."""
    found = {
        f"{prompt.prompt_id} {tier}": (tasks[prompt.prompt_id], answer.text, answer.score == 1)
        for prompt in read_prompts(PAIRS)
        for tier, answer in prompt.answers.items()
        if prompt.prompt_id in tasks and answer.score in (0, 1) and reference(tasks[prompt.prompt_id])
    }
    chosen: list[str] = []
    for wanted in (True, False):
        group_of = {key: task.category for key, (task, _, right) in found.items() if right is wanted}
        chosen += shares_of(group_of, count // 2)
    return [found[key] for key in sorted(chosen, key=lambda key: hashlib.sha256(key.encode()).digest())]


def reference(task: Task) -> str | None:
    """A right answer in words; ``None`` where the checker compares with something else."""
    expected = task.expected
    match task.checker:
        case "exact" | "contains":
            return str(expected if isinstance(expected, str) else expected[0])
        case "number":
            return f"{expected:.15g}"
        case "choice":
            letter = str(expected["answer"])
            return f"{letter}) {expected['options'][ord(letter) - ord('A')]}"
    return None


def agreement(said: Sequence[tuple[bool, Verdict]]) -> Row:
    """How often checker and judge say the same, with the exact interval, and Cohen's kappa: 0 is chance, 1 is always.

    Args:
        said: whether the checker finds an answer right, and what the judge says of it.
    """
    told = [(right, verdict.right, verdict.confidence or 0.0) for right, verdict in said if verdict.right is not None]
    same = sum(right == judged for right, judged, _ in told)
    figure = count_of(same, len(told)) if told else None
    right, judged = (sum(each[place] for each in told) / max(len(told), 1) for place in (0, 1))
    chance = right * judged + (1 - right) * (1 - judged)
    sure = {agrees: [how for r, j, how in told if (r == j) is agrees] for agrees in (True, False)}
    return {
        "answers": len(said),
        "no_verdict": len(said) - len(told),
        "right": right,
        "judged_right": judged,
        "agreement": figure.value if figure else None,
        "low": figure.low if figure else None,
        "high": figure.high if figure else None,
        "kappa": (figure.value - chance) / (1 - chance) if figure and chance < 1 else None,
        "sure_where_same": sum(sure[True]) / len(sure[True]) if sure[True] else None,
        "sure_where_not": sum(sure[False]) / len(sure[False]) if sure[False] else None,
    }
