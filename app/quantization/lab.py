"""The work of the Quantization lab, for background jobs.

Every piece is kept as soon as it is measured. So work that was cancelled, or whose server was stopped, goes on
where it was when it is started again, and what is there already is never measured again unless that is asked for.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Protocol

from app.environment import measured_here
from app.jobs import Report, Steps
from app.runs.service import (
    InferenceEngine,
    RequestRefusedError,
    RunCreated,
    RunNotFinishedError,
    answer_unkept,
    stream,
)
from app.store import LabStore, RunStore, SpeedResult, TaskAnswer
from engine import (
    AnswerDivergence,
    Corpus,
    DivergenceStats,
    EngineStatus,
    Task,
    Window,
    WindowDivergence,
    check,
)
from engine.errors import CorpusError, GearboxError, InvalidRequestError, NotJudgedError
from engine.types import (
    GenerationRequest,
    Loading,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFailed,
    RunFinished,
    RunMetrics,
    SamplingParams,
    TokenEvent,
)

log = logging.getLogger(__name__)

SPEED_RUNS = 3
SPEED_TOKENS = 64
SPEED_PROMPT = "Describe in some detail what a lighthouse keeper does on a stormy night."
_LOADED, _WRITTEN = 0.3, 0.7
"""Shares of a prompt's check at which its model is loaded, and at which its answer is written."""

_SHOWN_REFUSALS = 3

Progress = Callable[[str, float], None]


class LabError(GearboxError):
    """A run that a measurement needed did not come to its end."""


class LabEngine(InferenceEngine, Protocol):
    """What the lab needs of an engine; see `engine.Engine`."""

    def status(self) -> EngineStatus: ...
    def weights_sha256(self, model: str) -> str: ...
    def windows(self, model: str, corpus: Corpus, progress: Progress = ...) -> tuple[Window, ...]: ...
    def compare_window(
        self, model: str, precision: Precision, window: Window, progress: Progress = ...
    ) -> WindowDivergence: ...
    def compare_answer(
        self, request: GenerationRequest, token_ids: Sequence[int], progress: Progress = ...
    ) -> AnswerDivergence: ...


def refusal_words(refused: Sequence[str]) -> str:
    """That prompts were left out because a model cannot take them, for the user: how many, and the first of them."""
    several = f"{len(refused):,} prompts were" if len(refused) > 1 else "One prompt was"
    shown = "; ".join(refused[:_SHOWN_REFUSALS])
    return f"{several} left out because the model cannot take them: {shown}. All else is kept."


# --- on a corpus ----------------------------------------------------------------------------------------


def measure_corpus(
    engine: LabEngine,
    lab: LabStore,
    model: str,
    precisions: Sequence[Precision],
    corpus: Corpus,
    report: Report,
    *,
    again: bool = False,
) -> None:
    """Measure how far precisions are from 16 bits on a corpus, and how fast they are.

    Prompts are first answered by the 16-bit model, once for its weights; those that it cannot take are left out.
    ``again`` measures anew what is finished.

    Raises:
        CorpusError: the corpus is shorter than a window.
        LabError: a run failed; or, when all else is measured, prompts were left out.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``.
    """
    weights = engine.weights_sha256(model)
    lab.keep_corpus(corpus)
    answers = lab.answers(weights, corpus.sha256)
    windows = () if corpus.prompts else engine.windows(model, corpus)
    size = len(corpus.prompts or windows)
    wanted = {str(precision) for precision in precisions}
    begun = [r for r in lab.corpus_results(model) if (r.weights_sha256, r.corpus_sha256) == (weights, corpus.sha256)]
    fast = {} if again else _speeds_here(lab, model, weights, engine.status().device)
    steps = Steps(
        report,
        done=len(answers)
        + sum(r.scored for r in begun if r.precision in wanted and not (again and r.stats))
        + SPEED_RUNS * len(wanted & fast.keys()),
        total=len(corpus.prompts) + len(wanted) * (size + SPEED_RUNS),
    )
    refused: list[str] = []
    for place, prompt in enumerate(corpus.prompts):
        if place not in answers:
            steps.at(f"Answering in 16 bits · prompt {place + 1} of {size}")
            try:
                answers[place] = engine.windows(model, replace(corpus, prompts=(prompt,)), steps.still)
            except CorpusError:
                raise
            except InvalidRequestError as error:  # this model cannot take it: kept as a prompt that gives no window
                refused.append(f"prompt {place + 1:,} ({error})")
                answers[place] = ()
            lab.keep_answer(weights, corpus.sha256, place, answers[place])
            steps.advance()
    windows = windows or tuple(window for place in sorted(answers) for window in answers[place])
    if not windows and refused:
        raise LabError(refusal_words(refused))
    if not windows:
        raise LabError(f"The 16-bit model answered {corpus.name} with nothing, so there is nothing to score.")
    results = {
        precision: lab.begin_corpus_result(
            model=model,
            weights_sha256=weights,
            precision=precision,
            corpus_sha256=corpus.sha256,
            windows=len(windows),
            again=again,
        )
        for precision in precisions
    }
    for precision, result_id in results.items():
        _score(engine, lab, result_id, model, precision, windows, steps)
        if precision not in fast:
            _measure_speed(engine, lab, model, weights, precision, result_id, steps)
    if refused:
        raise LabError(refusal_words(refused))
    steps.at("Done", finished=True)


def _score(
    engine: LabEngine,
    lab: LabStore,
    result_id: str,
    model: str,
    precision: Precision,
    windows: Sequence[Window],
    steps: Steps,
) -> None:
    figures = lab.windows(result_id)
    missing = [place for place in range(len(windows)) if place not in figures]
    for place in missing:
        steps.at(f"{precision} · window {place + 1} of {len(windows)}")
        figures[place] = engine.compare_window(model, precision, windows[place], steps.loading)
        lab.keep_window(result_id, place, figures[place])
        steps.advance()
    tokens = WindowDivergence.concatenate([figures[place] for place in sorted(figures)])
    lab.finish_corpus_result(result_id, DivergenceStats.from_tokens(tokens))


def _speeds_here(lab: LabStore, model: str, weights_sha256: str, device: str) -> dict[str, SpeedResult]:
    return {
        speed.precision: speed
        for speed in lab.speeds(model)
        if speed.weights_sha256 == weights_sha256 and measured_here(speed.environment, device)
    }


def _measure_speed(
    engine: LabEngine,
    lab: LabStore,
    model: str,
    weights_sha256: str,
    precision: Precision,
    result_id: str,
    steps: Steps,
) -> None:
    """Keep the medians of a few short greedy runs, loading and waiting left out."""
    request = greedy_request(model, precision, SPEED_PROMPT, max_tokens=SPEED_TOKENS)
    runs: list[RunMetrics] = []
    environment: Mapping[str, object] = {}
    for run in range(SPEED_RUNS):
        steps.at(f"{precision} · speed, run {run + 1} of {SPEED_RUNS}")
        end = _answer(engine, request, steps)
        if end.metrics is None or end.metrics.ttft_s is None or end.metrics.tpot_s is None:
            raise LabError(f"The speed of {model} in {precision} could not be measured: it wrote less than two tokens.")
        runs.append(end.metrics)
        environment = end.environment
        steps.advance()
    lab.add_speed(
        model=model,
        weights_sha256=weights_sha256,
        precision=precision,
        tokens_per_second=median(run.tokens_per_second or 0.0 for run in runs),
        ttft_s=median((run.ttft_s or 0.0) - run.queue_s for run in runs),
        weights_bytes=runs[-1].weights_bytes,
        environment=environment,
        measurement=_measurement(result_id, environment),
    )


def _measurement(result_id: str, environment: Mapping[str, object]) -> str:
    """What a speed is the speed of: a measurement on a corpus, on one kind of machine. Servers that do the same work
    at once come to the same 32 characters."""
    machine = f"{environment.get('cpu')} {environment.get('device')}"
    return hashlib.sha256(f"{result_id} {machine}".encode()).hexdigest()[:32]


# --- on tasks -------------------------------------------------------------------------------------------


def tasks_sha256(tasks: Sequence[Task]) -> str:
    """Identity of a set of tasks: a result holds for the weights, the precision and this."""
    return hashlib.sha256(json.dumps([asdict(task) for task in tasks], sort_keys=True).encode()).hexdigest()


def measure_tasks(
    engine: LabEngine,
    lab: LabStore,
    model: str,
    precisions: Sequence[Precision],
    tasks: Sequence[Task],
    report: Report,
    *,
    again: bool = False,
) -> None:
    """Let precisions answer tasks, and keep what each answered and whether it was right. A task that the model cannot
    take, its prompt being too long for one, is not right.

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
    answered = {precision: lab.task_answers(result_id) for precision, result_id in results.items()}
    steps = Steps(report, done=sum(map(len, answered.values())), total=len(precisions) * len(tasks))
    unjudged: dict[str, str] = {}
    for precision, result_id in results.items():
        for place, task in enumerate(tasks):
            if task.id in answered[precision]:
                continue
            steps.at(f"{precision} · task {place + 1} of {len(tasks)}")
            try:
                text = _answer(engine, task.request(model, precision), steps).text
                right = check(task, text)
            except RequestRefusedError:  # it cannot take the task
                text, right = "", False
            except NotJudgedError as error:
                right, unjudged[task.id] = False, str(error)
                log.warning("%s: an answer to %s counts as wrong: %s", precision, task.id, error)
            lab.keep_task_answer(result_id, task.id, TaskAnswer(text, right))
            steps.advance()
    reasons = "; ".join(f"{task_id}, where {reason}" for task_id, reason in unjudged.items())
    steps.at(f"Done. Counted as wrong: {reasons}" if unjudged else "Done", finished=True)


# --- on one prompt --------------------------------------------------------------------------------------


@dataclass(slots=True)
class PromptCheck:
    """One prompt answered at a precision and read again by the 16-bit model, filled in as it goes on."""

    request: GenerationRequest
    session_id: str
    run_id: str | None = None
    text: str = ""
    end: RunFinished | None = None
    divergence: AnswerDivergence | None = None


def check_prompt(engine: LabEngine, store: RunStore, checked: PromptCheck, report: Report) -> None:
    """Answer the prompt, keeping the run, and compare the answer with the 16-bit model token by token.

    Raises:
        LabError: the run failed, or wrote nothing.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``; the run is then kept as stopped.
    """
    precision, max_tokens = checked.request.config.precision, checked.request.config.sampling.max_tokens
    report(f"Answering in {precision}", 0.0)
    written = 0
    with closing(stream(engine, store, checked.request, session_id=checked.session_id)) as events:
        for event in events:
            match event:
                case RunCreated(run_id=run_id):
                    checked.run_id = run_id
                case Loading(stage=stage, fraction=fraction):
                    report(stage, _LOADED * fraction)
                case TokenEvent(text=text):
                    written += 1
                    checked.text += text
                    share = _LOADED + (_WRITTEN - _LOADED) * written / max_tokens
                    report(f"Answering in {precision} · token {written}", share)
                case RunFailed(error=error):
                    raise LabError(error)
                case RunFinished():
                    checked.end, checked.text = event, event.text
                case _:
                    report(f"Answering in {precision}", _LOADED if written == 0 else _WRITTEN)
    if checked.end is None or not checked.end.token_ids:
        raise LabError("The model answered with nothing, so there is nothing to compare. Try another prompt.")
    report("Reading the answer with the 16-bit model", _WRITTEN)
    checked.divergence = engine.compare_answer(
        checked.request,
        checked.end.token_ids,
        lambda stage, fraction: report(stage, _WRITTEN + (0.95 - _WRITTEN) * fraction),
    )
    report("Done", 1.0)


def greedy_request(model: str, precision: Precision, prompt: str, *, max_tokens: int) -> GenerationRequest:
    """A prompt answered greedily at a precision.

    Raises:
        InvalidRequestError: the prompt is empty, or a value is out of range.
    """
    return GenerationRequest(
        messages=(Message("user", prompt),),
        config=RunConfig(
            model=model,
            optimization=OptimizationConfig.at(precision),
            sampling=SamplingParams(max_tokens=max_tokens),
        ),
    )


# --------------------------------------------------------------------------------------------------------


def _answer(engine: LabEngine, request: GenerationRequest, steps: Steps) -> RunFinished:
    """Run a request to its end without keeping it among the runs.

    Raises:
        RequestRefusedError: the model cannot take it.
        LabError: it failed, or was cut short.
    """
    try:
        return answer_unkept(engine, request, steps.watch)
    except RequestRefusedError:
        raise
    except RunNotFinishedError as error:
        raise LabError(str(error)) from error
