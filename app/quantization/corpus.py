"""How far precisions are from 16 bits on a corpus, and how fast they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from app.background.jobs import Report, Steps
from app.environment import measured_here
from app.quantization.lab import LabEngine, LabError, answer, greedy_request, refusal_words
from app.runs.answers import disturbed_by, undisturbed
from app.runs.live_run import LiveRun
from app.store import LabStore, SpeedResult
from engine import Corpus, DivergenceStats, Window, WindowDivergence
from engine.errors import CorpusError, InvalidRequestError
from engine.types import Precision

SPEED_RUNS = 3
SPEED_TOKENS = 64
ANSWER_EFFORT, WINDOW_EFFORT, SPEED_EFFORT = 64, {"prompts": 30, "text": 154}, 64
"""What an answer, a window and a run for the speed take of one another, in tokens written: a token that is read takes
about 0.15 of one that is written, and each window is read twice."""
SPEED_PROMPT = "Describe in some detail what a lighthouse keeper does on a stormy night."


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
    if lab.corpus(corpus.sha256) is None:
        lab.keep_corpus(corpus, everybodys=True)
    answers = lab.answers(weights, corpus.sha256)
    windows = () if corpus.prompts else engine.windows(model, corpus)
    size = len(corpus.prompts or windows)
    wanted = {str(precision) for precision in precisions}
    begun = [r for r in lab.corpus_results(model) if (r.weights_sha256, r.corpus_sha256) == (weights, corpus.sha256)]
    effort = WINDOW_EFFORT["prompts" if corpus.prompts else "text"]
    fast = {} if again else _speeds_here(lab, model, weights, engine.status().device)
    steps = Steps(
        report,
        done=len(answers) * ANSWER_EFFORT
        + sum(r.scored for r in begun if r.precision in wanted and not (again and r.stats)) * effort
        + SPEED_RUNS * len(wanted & fast.keys()) * SPEED_EFFORT,
        total=len(corpus.prompts) * ANSWER_EFFORT + len(wanted) * (size * effort + SPEED_RUNS * SPEED_EFFORT),
    )
    refused: list[str] = []
    in_memory = any((each.model, each.precision) == (model, Precision.BF16) for each in engine.status().resident)
    does = "Answering" if in_memory else "Loading and answering"
    for place, prompt in enumerate(corpus.prompts):
        if place not in answers:
            steps.at(f"{does} in 16 bits · prompt {place + 1} of {size}")
            try:
                answers[place] = engine.windows(model, replace(corpus, prompts=(prompt,)), steps.still)
            except CorpusError:
                raise
            except InvalidRequestError as error:  # this model cannot take it: kept as a prompt that gives no window
                refused.append(f"prompt {place + 1:,} ({error})")
                answers[place] = ()
            lab.keep_answer(weights, corpus.sha256, place, answers[place])
            steps.advance(ANSWER_EFFORT)
            does = "Answering"
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
        _score(engine, lab, result_id, model, precision, windows, steps, effort)
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
    effort: int,
) -> None:
    figures = lab.windows(result_id)
    missing = [place for place in range(len(windows)) if place not in figures]
    for place in missing:
        steps.at(f"{precision} · window {place + 1} of {len(windows)}")
        figures[place] = engine.compare_window(model, precision, windows[place], steps.loading)
        lab.keep_window(result_id, place, figures[place])
        steps.advance(effort)
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
    """Keep the medians of a few short greedy runs, loading, waiting and disturbed runs left out."""
    request = greedy_request(model, precision, SPEED_PROMPT, max_tokens=SPEED_TOKENS)
    runs: list[LiveRun] = []
    for place in range(SPEED_RUNS):
        steps.at(f"{precision} · speed, run {place + 1} of {SPEED_RUNS}")
        run = answer(engine, request, lambda run: steps.meanwhile(run.loading_now), timed=True)
        if run.metrics is None or run.metrics.ttft_s is None or run.metrics.tpot_s is None:
            raise LabError(f"The speed of {model} in {precision} could not be measured: it wrote less than two tokens.")
        runs.append(run)
        steps.advance(SPEED_EFFORT)
    measured = [run.metrics for run in undisturbed(runs) if run.metrics]
    environment = {**runs[-1].environment, "disturbed": disturbed_by(runs)}
    lab.add_speed(
        model=model,
        weights_sha256=weights_sha256,
        precision=precision,
        tokens_per_second=median(run.tokens_per_second or 0.0 for run in measured),
        ttft_s=median((run.ttft_s or 0.0) - run.queue_s for run in measured),
        weights_bytes=measured[-1].weights_bytes,
        environment=environment,
        measurement=_measurement(result_id, environment),
    )


def _measurement(result_id: str, environment: Mapping[str, object]) -> str:
    """What a speed is the speed of: a measurement on a corpus, on one kind of machine. Servers that do the same work
    at once come to the same 32 characters."""
    machine = f"{environment.get('cpu')} {environment.get('device')}"
    return hashlib.sha256(f"{result_id} {machine}".encode()).hexdigest()[:32]
