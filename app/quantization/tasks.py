"""What precisions get right of a set of tasks."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from app.background.jobs import Report, Steps
from app.quantization.lab import LabEngine, answer
from app.runs.answers import RequestRefusedError
from app.runs.together import Watch, answered_together
from app.store import LabStore, TaskAnswer
from engine import Task, check
from engine.errors import NotJudgedError
from engine.types import Precision

log = logging.getLogger(__name__)


def tasks_sha256(tasks: Sequence[Task]) -> str:
    """Identity of a set of tasks: a result holds for the weights, the precision and this."""
    return hashlib.sha256(json.dumps([task.to_dict() for task in tasks], sort_keys=True).encode()).hexdigest()


def measure_tasks(
    engine: LabEngine,
    lab: LabStore,
    model: str,
    precisions: Sequence[Precision],
    tasks: Sequence[Task],
    report: Report,
    *,
    only: Sequence[Task] | None = None,
    again: bool = False,
) -> None:
    """Let precisions answer tasks, or ``only`` some of them, and keep what each answered and whether it was right. A
    task that the model cannot take, its prompt being too long for one, is not right.

    An answer that cannot be judged, since the task's pattern or schema takes too long on it, counts as wrong.

    Raises:
        LabError: a run failed.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``.
    """
    weights = engine.weights_sha256(model)
    results = {
        precision: lab.begin_task_result(
            model=model,
            weights_sha256=weights,
            precision=precision,
            tasks_sha256=tasks_sha256(tasks),
            tasks=len(tasks),
            again=again,
        )
        for precision in precisions
    }
    asked = tasks if only is None else only
    answered = {precision: lab.task_answers(result_id) for precision, result_id in results.items()}
    done = sum(_effort(task, p) for p, answers in answered.items() for task in asked if task.id in answers)
    steps = Steps(report, done=done, total=sum(_effort(task, p) for p in precisions for task in asked))
    unjudged: dict[str, str] = {}
    session = f"tasks of {model}"
    for precision, result_id in results.items():
        left = [task for task in asked if task.id not in answered[precision]]
        ask = partial(_ask, engine, model, precision, session)
        with answered_together(left, ask, steps.meanwhile) as answers:
            for place in range(len(asked) - len(left), len(asked)):
                steps.at(f"{precision} · task {place + 1} of {len(asked)}")
                task, said = next(answers)
                given = TaskAnswer("", right=False)
                if not isinstance(said, RequestRefusedError):  # else it cannot take the task
                    try:
                        given = TaskAnswer(said, check(task, said))
                    except NotJudgedError as error:
                        given, unjudged[task.id] = TaskAnswer(said, right=False), str(error)
                        log.warning("%s: an answer to %s counts as wrong: %s", precision, task.id, error)
                lab.keep_task_answer(result_id, task.id, given)
                steps.advance(_effort(task, precision))
    reasons = "; ".join(f"{task_id}, where {reason}" for task_id, reason in unjudged.items())
    steps.at(f"Done. Counted as wrong: {reasons}" if unjudged else "Done", finished=True)


def _ask(engine: LabEngine, model: str, precision: Precision, session: str, task: Task, watch: Watch) -> str:
    """A task's answer."""
    return answer(engine, replace(task.request(model, precision), cache_salt=session), watch).text


def _effort(task: Task, precision: Precision) -> int:
    """About what a task takes of the others: a token that is read takes 0.15 of one that is written, of which half of
    the most are; 16 bits take about twice as long as fewer do."""
    tokens = 0.15 * len(task.transcript) / 4 + task.max_tokens / 2
    return max(1, round(tokens * (2 if precision is Precision.BF16 else 1)))
