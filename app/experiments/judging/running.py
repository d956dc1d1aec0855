"""A judge's work on an experiment, as a background job under a budget.

Each verdict is kept as soon as it is there: work that was cancelled, or whose server was killed, goes on where it was.
No verdict is kept as that, and is no score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic

from app.background.jobs import Report, Steps
from app.experiments.judging.budget import Budget
from app.experiments.judging.judge import Judge, JudgeError, Reply
from app.experiments.judging.opinions import judge_words
from app.experiments.judging.plan import Question, questions
from app.experiments.judging.prompts import Asked
from app.experiments.judging.verdict import verdict_of
from app.experiments.results.arrays import Results, read_results
from app.runs.answers import RequestRefusedError
from app.runs.together import Watch, answered_together
from app.store import JudgeId, Judgement, JudgementKind, NoVerdict, RunStore
from engine import Task

_MOST_IN_VAIN = 5
"""After so many questions in a row that came to nothing, a judge is given up."""


def job_key(experiment_id: str) -> str:
    """The background job of an experiment's judge."""
    return f"judging experiment {experiment_id}"


def still_to_ask(
    results: Results, kind: JudgementKind, judge: JudgeId, said: Sequence[Judgement]
) -> tuple[Question, ...]:
    """What a judge was not asked yet, or what it could not be reached for.

    Args:
        results: of the experiment.
        kind: how it judges.
        judge: who.
        said: all judgements of the experiment.
    """
    done = {each.key for each in said if each.no_verdict is not NoVerdict.NO_ANSWER}
    return tuple(each for each in questions(results, kind) if each.key(judge) not in done)


def judge_experiment(
    judge: Judge,
    store: RunStore,
    experiment_id: str,
    kind: JudgementKind,
    budget: Budget,
    report: Report,
    *,
    clock: Callable[[], float] = monotonic,
) -> None:
    """Ask a judge about an experiment's answers that it has not judged yet, within a budget.

    Args:
        judge: who.
        store: what keeps the experiment, as whoever starts it sees it.
        experiment_id: which one.
        kind: how it judges.
        budget: what it may take.
        report: told of the progress.
        clock: seconds.

    Raises:
        JudgeError: the judge answers nothing any more.
        GearboxError: whatever else keeps the engine or the store from it.
        JobCancelled: from ``report``.
    """
    begun = clock()
    results = read_results(store, experiment_id)
    waiting = still_to_ask(results, kind, judge.id, store.experiments.judgements(experiment_id))[: budget.judgements]
    texts = store.experiments.answers({each.run_id for one in waiting for each in (one.first, one.second) if each})
    known = [one for one in waiting if all(each.run_id in texts for each in (one.first, one.second) if each)]
    tasks = {task.id: task for task in results.design.prompts}
    steps = Steps(report, done=0, total=len(known))

    def within_time() -> Iterator[tuple[Question, Asked]]:
        for one in known:
            if clock() - begun > budget.seconds:
                return
            yield one, _asked(one, tasks, texts, experiment_id)

    def ask(one: tuple[Question, Asked], watch: Watch) -> Reply:
        return judge.ask(one[1], watch)

    name = judge_words(judge.id)
    last, in_vain, count = begun, 0, 0
    steps.at(f"{name} judges")
    with answered_together(within_time(), ask, steps.meanwhile, at_once=judge.at_once) as replies:
        for (question, asked), reply in replies:
            assert not isinstance(reply, RequestRefusedError)  # judges tell of refusals in their replies
            now = clock()
            judgement = judgement_of(question, asked, judge.id, reply, seconds=now - last)
            last, count = now, count + 1
            store.experiments.keep_judgement(experiment_id, judgement)
            in_vain = in_vain + 1 if judgement.no_verdict is NoVerdict.NO_ANSWER else 0
            if in_vain >= _MOST_IN_VAIN:
                raise JudgeError(f"{name} did not answer {in_vain} times in a row: {judgement.detail}")
            steps.advance()
            steps.at(f"{name} judges · {count:,} of {len(known):,}")
    steps.at("Done", finished=True)


def judgement_of(question: Question, asked: Asked, judge: JudgeId, reply: Reply, *, seconds: float) -> Judgement:
    """What is kept of a judge's reply. One that cannot be read as a verdict is none, whatever it says."""
    verdict = verdict_of(asked, reply)
    return Judgement(
        key=question.key(judge),
        score=verdict.score,
        reason=verdict.reason,
        no_verdict=verdict.no_verdict,
        detail=verdict.detail,
        seconds=seconds,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )


def _asked(one: Question, tasks: Mapping[str, Task], texts: Mapping[str, str], salt: str) -> Asked:
    second = texts[one.second.run_id] if one.second else None
    return Asked(tasks[one.prompt_id].transcript, texts[one.first.run_id], second, salt)
