"""Recording what tiers answer to a set of prompts, as a background job.

Every answer is kept as soon as it is there: a job that was cancelled, or whose server was stopped, goes on where it
was when it is started again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from app.background.jobs import Report, Steps
from app.quantization.lab import LabError, refusal_words
from app.quantization.tasks import tasks_sha256
from app.router.recorded.judging import Judging
from app.router.recorded.sizes import efforts
from app.router.recorded.tier_recording import RecordingEngine, TierRecording
from app.store import RouterStore
from engine import JUDGED, MIXED_FILE, Task, load_tasks
from engine.evaluation.sandbox import why_not
from engine.types import Tier


@cache
def mixed_sha256() -> str:
    """The set of prompts that comes with Gearbox."""
    return tasks_sha256(load_tasks(MIXED_FILE))


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
    checker can. What is there under the same weights is not asked again. A prompt that a tier cannot take keeps no
    other from being answered.

    Some prompts of each tier have the engine alone, for their times count, and are asked once more where they were
    disturbed. Where there are many more, these are answered together, and their times estimated.

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
    if again:
        for tier in tiers:
            store.renew(identity, tier.key, weights[tier])
    session, effort = f"recording {identity}", efforts(tiers, parameters)
    work = [
        TierRecording(
            engine=engine,
            store=store,
            identity=identity,
            tier=tier,
            weights_sha256=weights[tier],
            session=session,
            tasks=checkable,
            effort=effort[tier],
        )
        for tier in tiers
    ]
    done = sum(each.done for each in work)
    total = done + sum(each.to_do for each in work)
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
        done += judging.done({(task.id, each.tier.key) for each in work for task in each.missing})
    steps = Steps(report, done=done, total=total)
    for each in work:  # one after the other: each model is loaded once
        each.record(steps)
    if judging:
        judging.run(engine, session, steps)
    if refused := [words for each in work for words in each.refused]:
        raise LabError(refusal_words(refused))
    steps.at("Done", finished=True)
