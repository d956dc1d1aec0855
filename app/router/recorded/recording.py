"""Recording what tiers answer to a set of prompts, as a background job.

Every answer is kept as soon as it is there: a job that was cancelled, or whose server was stopped, goes on where it
was when it is started again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Protocol

from app.jobs import Report, Steps
from app.quantization.lab import LabError, refusal_words
from app.quantization.tasks import tasks_sha256
from app.router.recorded.judging import Judging
from app.router.recorded.sizes import efforts
from app.runs.answers import RequestRefusedError, RunNotFinishedError, answer_undisturbed
from app.runs.service import InferenceEngine
from app.store import RouterStore
from engine import JUDGED, MIXED_FILE, Task, check, load_tasks
from engine.cascade import tier_answer
from engine.errors import NotJudgedError
from engine.evaluation.sandbox import why_not
from engine.types import Tier

log = logging.getLogger(__name__)


@cache
def mixed_sha256() -> str:
    """The set of prompts that comes with Gearbox."""
    return tasks_sha256(load_tasks(MIXED_FILE))


class RecordingEngine(InferenceEngine, Protocol):
    """What recording needs of an engine; see `engine.Engine`."""

    def weights_sha256(self, model: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Checkable:
    """The prompts of a set that can be recorded on this machine."""

    tasks: tuple[Task, ...]
    left_out: int
    """Prompts whose answers are code, where this machine cannot check it safely."""
    reason: str

    @classmethod
    def of(cls, tasks: Sequence[Task], sandbox: Callable[[], str | None] = why_not) -> Checkable:
        """Leave out what cannot be checked. The sandbox is tried only where a prompt needs it."""
        reason = (sandbox() or "") if any(task.checker == "code" for task in tasks) else ""
        fit = tuple(task for task in tasks if not reason or task.checker != "code")
        return cls(fit, len(tasks) - len(fit), reason)


def record(
    engine: RecordingEngine,
    store: RouterStore,
    name: str,
    tasks: Sequence[Task],
    tiers: Sequence[Tier],
    report: Report,
    *,
    identity: str | None = None,
    only: Collection[str] | None = None,
    again: bool = False,
    parameters: Mapping[str, int] = MappingProxyType({}),
    judge: Tier | None = None,
    sandbox: Callable[[], str | None] = why_not,
) -> None:
    """Let each tier answer each prompt once, greedily, and keep the answers; then have a judge look at those that no
    checker can. What is there under the same weights is not asked again; what was disturbed is asked once more, for
    its time counts. A prompt that a tier cannot take keeps no other from being answered.

    Args:
        engine: who answers.
        store: what keeps the answers, for whoever sees it.
        name: of the set, should it not be kept yet.
        tasks: all prompts of the set.
        tiers: who is asked.
        report: told of the progress.
        identity: of the set, where it is not its prompts' hash.
        only: ids of the prompts to record now, of the set that stays the whole; ``None`` is all.
        again: record anew what is there. Each answer stays until the new one takes its place, so that a recording that
            is cut short has an answer to each prompt all the same, and goes on with those that are still old.
        parameters: of models, by name: an answer of a larger tier counts for more of the progress.
        judge: who says of prompts that a model judges whether answers are right; ``None`` leaves them without a score.
        sandbox: why code cannot be checked here.

    Raises:
        LabError: a run failed; or, when all else is recorded, prompts could not be taken.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``.
    """
    models = [tier.model for tier in (*tiers, *([judge] if judge else []))]
    report(f"Looking up the weights of {', '.join(dict.fromkeys(models))}", 0.0)
    identity = identity or tasks_sha256(tasks)
    asked = [task for task in tasks if only is None or task.id in only]
    checkable = Checkable.of(asked, sandbox).tasks
    if not store.tasks(identity):
        store.keep_set(identity, name, tasks)
    weights = {tier: engine.weights_sha256(tier.model) for tier in tiers}
    missing = {}
    for tier in tiers:
        if again:
            store.renew(identity, tier.key, weights[tier])
        known = store.answered(identity, tier.key, weights[tier])
        missing[tier] = [task for task in checkable if task.id not in known]
    effort = efforts(tiers, parameters)
    total = sum(effort.values()) * len(checkable)
    done = total - sum(effort[tier] * len(left) for tier, left in missing.items())
    judging = None
    if judge:
        judging = Judging(
            store=store,
            identity=identity,
            tasks=[task for task in checkable if task.checker == JUDGED],
            tiers=[(tier.key, weights[tier]) for tier in tiers],
            judge=judge,
            weights_sha256=engine.weights_sha256(judge.model),
        )
        total += len(tiers) * len(judging.tasks)
        done += judging.done({(task.id, tier.key) for tier, tasks in missing.items() for task in tasks})
    steps = Steps(report, done=done, total=total)
    refused: list[str] = []
    # the tiers take turns one after the other: each model is loaded once
    for tier in tiers:
        before = len(checkable) - len(missing[tier])
        for place, task in enumerate(missing[tier], start=before + 1):
            steps.at(f"{tier.key} · prompt {place:,} of {len(checkable):,}")
            try:
                _record_one(engine, store, identity, weights[tier], tier, task, steps)
            except RequestRefusedError as error:
                refused.append(f"“{task.id}” by {tier.key} ({error})")
            steps.advance(effort[tier])
    if judging:
        judging.run(engine, steps)
    if refused:
        raise LabError(refusal_words(refused))
    steps.at("Done", finished=True)


def _record_one(
    engine: RecordingEngine,
    store: RouterStore,
    identity: str,
    weights_sha256: str,
    tier: Tier,
    task: Task,
    steps: Steps,
) -> None:
    try:
        run = answer_undisturbed(
            engine, task.request(tier.model, tier.precision), lambda run: steps.meanwhile(run.loading_now)
        )
    except RequestRefusedError:
        raise
    except RunNotFinishedError as error:
        raise LabError(f"{tier.key} could not answer “{task.id}”: {error}") from error
    answer = tier_answer([event for event in (run.prefill, *run.tokens, run.end) if event], partial(_score, task))
    if answer is None:
        raise LabError(f"What {tier.key} took to answer “{task.id}” was not measured.")
    environment = {**run.environment, "disturbed": run.disturbed}
    store.keep_answer(identity, task.id, tier.key, weights_sha256, answer, environment)


def _score(task: Task, text: str) -> float | None:
    """How right an answer is; ``None`` where that cannot be told, and the prompt is then left out of every count."""
    if task.checker in (None, JUDGED):
        return None
    try:
        return float(check(task, text))
    except NotJudgedError as error:
        log.warning("an answer to %s is not judged: %s", task.id, error)
        return None
