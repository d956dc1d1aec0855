"""A model as judge of answers: which model, what it is asked, and its work on a recording.

Each verdict is kept as soon as it is there: work that was cancelled goes on where it was when it is started again.
Whether others held the judge up does not matter: its time counts nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.cascade.pairs import Sized, by_size
from app.jobs import Steps
from app.quantization.lab import LabError
from app.router.recorded.marking import Judgement
from app.runs.answers import RequestRefusedError, RunNotFinishedError, answer_unkept
from app.runs.service import InferenceEngine
from app.store import KeptVerdict, RouterStore, answer_sha256
from engine import Graded, Task, Verdict, verdict_of
from engine.types import Precision, Tier


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
    answers: Iterable[tuple[str, str]],
    judgements: Mapping[tuple[str, str], Judgement],
    judge: Tier,
    weights_sha256: str | None,
) -> int:
    """How many recorded answers wait for a judge.

    Args:
        answers: to prompts that a model judges: the prompt's id and the tier.
        judgements: what counts of them, by the same.
        judge: whose verdicts are wanted.
        weights_sha256: the judge's; ``None`` where they are not known.
    """
    found = (judgements.get(answer) for answer in answers)
    return sum(not is_judged_by(judge, weights_sha256, each.verdicts if each else ()) for each in found)
