"""A model as judge of answers, as a background job: which model, what it is asked, and keeping what it says.

Each verdict is kept as soon as it is there: a job that was cancelled goes on where it was when it is started again.
Whether others held the judge up does not matter: its time counts nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from app.cascade.pairs import Sized, by_size
from app.jobs import Report, Steps
from app.quantization.lab import LabError
from app.router.estimates import shares_of
from app.router.lab import DataSet
from app.router.watch import RECENT_RUNS, WatchedRun
from app.runs.answers import RequestRefusedError, RunNotFinishedError, answer_unkept
from app.runs.service import InferenceEngine
from app.store import KeptVerdict, RouterStore, answer_sha256
from engine import JUDGED, Graded, Task, Verdict, verdict_of
from engine.types import Precision, Tier

SAMPLE = 10
"""Live answers that are judged at once."""


def judge_among(models: Sequence[Sized]) -> Tier | None:
    """The largest installed model, at int4; ``None`` where the size of none is known."""
    known = by_size(models)
    return Tier(model=known[-1].name, precision=Precision.INT4) if known else None


def doubts(judge: Tier, models: Sequence[Sized], tiers: Collection[Tier]) -> str:
    """Why a judge's verdicts are to be taken with care, for the user; empty where nothing speaks against them."""
    if judge.model not in {tier.model for tier in tiers}:
        return ""
    other = "" if len(by_size(models)) > 1 else " No second model is installed that could judge instead."
    return f"{judge} is one of the tiers: a model that judges its own answers flatters itself.{other}"


def is_judged_by(judge: Tier, weights_sha256: str | None, said: Iterable[KeptVerdict]) -> bool:
    """Whether a judge has spoken, under some weights; where these are not known, under any."""
    return any(each.judge == judge and weights_sha256 in (None, each.weights_sha256) for each in said)


def ask_judge(engine: InferenceEngine, judge: Tier, graded: Graded, steps: Steps) -> Verdict:
    """What a judge says of an answer. An empty one is wrong without asking; one that is too long for the judge gets no
    verdict.

    Raises:
        LabError: the run failed.
        JobCancelled: from ``steps``.
    """
    if not graded.answer.strip():
        return Verdict(right=False)
    try:
        run = answer_unkept(engine, graded.request(judge), lambda run: steps.meanwhile(run.loading_now))
    except RequestRefusedError:
        return Verdict(right=None)
    except RunNotFinishedError as error:
        raise LabError(f"{judge} could not judge an answer: {error}") from error
    return verdict_of(run.tokens)


# --- recorded answers -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """A judge's work on a recording: the answers to prompts that only a model can judge."""

    store: RouterStore
    """As whoever records sees it."""
    identity: str
    """Of the set."""
    tasks: Sequence[Task]
    """Its prompts, as far as a model judges them."""
    tiers: Sequence[tuple[str, str]]
    """Their keys, each with its weights_sha256."""
    judge: Tier
    weights_sha256: str
    """The judge's."""

    def waiting(self) -> list[tuple[Task, str, str]]:
        """Recorded answers that this judge has still to look at: the task, the tier, the answer's text.

        Raises:
            StoreError: the run database cannot be read.
        """
        said = self.store.verdicts(self.identity)
        found = []
        for tier, weights in self.tiers:
            answers = self.store.answers(self.identity, tier, weights)
            for task in self.tasks:
                answer = answers.get(task.id)
                if answer is not None:
                    verdicts = said.get((task.id, tier, answer_sha256(answer.text)), ())
                    if not is_judged_by(self.judge, self.weights_sha256, verdicts):
                        found.append((task, tier, answer.text))
        return found

    def done(self, to_ask: Collection[tuple[str, str]]) -> int:
        """Of all answers, those that need no looking at.

        Args:
            to_ask: prompt's id and tier of answers that are yet to be recorded.
        """
        ids = {task.id for task in self.tasks}
        waiting = {(task.id, tier) for task, tier, _ in self.waiting()}
        waiting |= {(id, tier) for id, tier in to_ask if id in ids}
        return len(self.tasks) * len(self.tiers) - len(waiting)

    def run(self, engine: InferenceEngine, steps: Steps) -> None:
        """Have the judge look at what waits, and keep what it says; a step each.

        Raises:
            LabError: a run failed.
            StoreError: the run database cannot be used.
            JobCancelled: from ``steps``.
        """
        waiting = self.waiting()
        for place, (task, tier, text) in enumerate(waiting, start=1):
            steps.at(f"{self.judge} judges · answer {place:,} of {len(waiting):,}")
            verdict = ask_judge(engine, self.judge, Graded(task.prompt, text, task.expected), steps)
            self.store.keep_verdict(self.identity, task.id, tier, text, self.judge, self.weights_sha256, verdict)
            steps.advance()


def left_to_judge(
    data: DataSet, only: Collection[str], tiers: Collection[str], judge: Tier, weights_sha256: str | None
) -> int:
    """How many recorded answers of some tiers to some prompts wait for a judge."""
    return sum(
        not is_judged_by(judge, weights_sha256, said.verdicts if said else ())
        for prompt in data.prompts
        if prompt.prompt_id in only and data.tasks[prompt.prompt_id].checker == JUDGED
        for tier in tiers
        if tier in prompt.answers
        for said in [data.judged.get((prompt.prompt_id, tier))]
    )


# --- live answers -----------------------------------------------------------------------------------


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
    for place, run in enumerate(sample, start=1):
        steps.at(f"{judge} judges · answer {place:,} of {len(sample):,}")
        verdict = ask_judge(engine, judge, Graded(run.prompt, run.text, run.reference), steps)
        store.keep_run_verdict(run.id, judge, weights_sha256, verdict)
        steps.advance()
    steps.at("Done", finished=True)
