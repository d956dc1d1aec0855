"""What was answered in use, judged by a model: a sample of it, as a background job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.background.jobs import Report, Steps
from app.prompts.choosing import shares_of
from app.router.operation.watch import RECENT_RUNS, WatchedRun
from app.router.recorded.judging import is_judged_by, verdicts_of
from app.runs.service import InferenceEngine
from app.store import RouterStore
from engine import Graded
from engine.types import Tier

SAMPLE = 10
"""Live answers that are judged at once."""


def sample_to_judge(
    runs: Sequence[WatchedRun], judge: Tier, weights_sha256: str | None = None, count: int = SAMPLE
) -> tuple[WatchedRun, ...]:
    """Some of the latest live answers that nothing else checks and that a judge has not seen: each tier that answered
    has its share, and the same runs always give the same sample. Turns of conversations are left out, for the judge
    would see a part of them only.

    Args:
        runs: a profile's, the oldest first.
        judge: who is to judge.
        weights_sha256: the judge's; ``None`` where they are not known.
        count: how many at most.
    """
    open_ones = {
        run.id: run
        for run in runs[-RECENT_RUNS:]
        if run.alone and run.correct is None and not is_judged_by(judge, weights_sha256, run.verdicts)
    }
    chosen = shares_of({id: run.report.tier for id, run in open_ones.items()}, count)
    return tuple(run for id, run in open_ones.items() if id in chosen)


def judge_live(
    engine: InferenceEngine,
    store: RouterStore,
    sample: Sequence[WatchedRun],
    judge: Tier,
    weights_of: Callable[[str], str],
    report: Report,
) -> None:
    """Have a judge look at live answers, and keep what it says of each.

    Args:
        engine: who runs the judge.
        store: what keeps the verdicts.
        sample: see :func:`sample_to_judge`.
        judge: who judges.
        weights_of: the weights_sha256 of a model; it may take a while.
        report: told of the progress.

    Raises:
        LabError: a run failed.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``.
    """
    steps = Steps(report, done=0, total=len(sample))
    steps.at(f"Looking up the weights of {judge.model}")
    weights_sha256 = weights_of(judge.model)
    asked = ((run.id, Graded(run.prompt, run.text, run.reference)) for run in sample)
    with verdicts_of(engine, judge, asked, f"judging by {judge.key}", steps) as verdicts:
        for place in range(len(sample)):
            steps.at(f"{judge} judges · answer {place + 1:,} of {len(sample):,}")
            run_id, verdict = next(verdicts)
            store.keep_run_verdict(run_id, judge, weights_sha256, verdict)
            steps.advance()
    steps.at("Done", finished=True)
