"""A model as judge of answers: which model, what it is asked, and its work on a recording.

Each verdict is kept as soon as it is there: work that was cancelled goes on where it was when it is started again.
Whether others held the judge up does not matter: its time counts nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from app.background.jobs import Steps
from app.cascade.pairs import Sized, by_size
from app.quantization.lab import answer
from app.router.recorded.marking import Judgement
from app.runs.answers import RequestRefusedError
from app.runs.service import InferenceEngine
from app.runs.together import Watch, answered_together
from app.store import KeptVerdict, RouterStore, answer_sha256
from engine import Graded, Task, Verdict, verdict_of
from engine.types import Precision, Tier

T = TypeVar("T")


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


@contextmanager
def verdicts_of(
    engine: InferenceEngine, judge: Tier, asked: Iterable[tuple[T, Graded]], session: str, steps: Steps
) -> Iterator[Iterator[tuple[T, Verdict]]]:
    """What a judge says of answers, several of which it is asked about at once: each with its verdict, in whatever
    order they come. An empty answer is wrong without asking; one that is too long for the judge gets no verdict.

    Args:
        engine: who runs the judge.
        judge: who judges.
        asked: what is judged, each with what the judge is shown of it.
        session: whose requests these are, to the engine.
        steps: told what is loaded.

    Raises:
        LabError: while verdicts are waited for: a run failed.
        JobCancelled: from ``steps``, likewise.
    """

    def ask(one: tuple[T, Graded], watch: Watch) -> Verdict:
        _, graded = one
        if not graded.answer.strip():
            return Verdict(right=False)
        request = replace(graded.request(judge), cache_salt=session)
        return verdict_of(answer(engine, request, watch, failed=f"{judge} could not judge an answer").tokens)

    with answered_together(asked, ask, steps.meanwhile) as answers:
        yield (
            (what, Verdict(right=None) if isinstance(said, RequestRefusedError) else said)
            for (what, _), said in answers
        )


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

    def run(self, engine: InferenceEngine, session: str, steps: Steps) -> None:
        """Have the judge look at what waits, and keep what it says; a step each.

        Args:
            engine: who runs the judge.
            session: whose requests these are, to the engine.
            steps: told of the progress.

        Raises:
            LabError: a run failed.
            StoreError: the run database cannot be used.
            JobCancelled: from ``steps``.
        """
        waiting = self.waiting()
        asked = ((each, Graded(each[0].transcript, each[2], each[0].expected)) for each in waiting)
        with verdicts_of(engine, self.judge, asked, session, steps) as verdicts:
            for place in range(len(waiting)):
                steps.at(f"{self.judge} judges · answer {place + 1:,} of {len(waiting):,}")
                (task, tier, text), verdict = next(verdicts)
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
