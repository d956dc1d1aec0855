"""What drafters do for prompts, measured. Every prompt is kept as soon as it is measured, so work that was cancelled
goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile

from app.background.jobs import Report, Steps
from app.environment import measured_here
from app.runs.answers import RunNotFinishedError, answer_undisturbed, disturbed_by
from app.runs.live_run import LiveRun
from app.runs.prompts import SamplePrompt
from app.speculation.lab import (
    PAIRS,
    SpeculationEngine,
    SpeculationLabError,
    lab_request,
    median_tpot_s,
    prompt_sha256,
    tpot_ratios,
)
from app.store import DraftFigures, DraftResult, DraftStore
from engine.types import GenerationRequest, Precision, SpeculationConfig, SpeculationReport


def measure_drafters(
    engine: SpeculationEngine,
    drafts: DraftStore,
    model: str,
    precision: Precision,
    speculations: Sequence[SpeculationConfig],
    prompts: Sequence[SamplePrompt],
    report: Report,
    *,
    again: bool = False,
) -> None:
    """Measure what drafters do for prompts: plain and drafted runs in turn, the medians kept. A run that was disturbed
    is made once more.

    What was measured here with these weights before is not measured again, unless ``again`` asks for it.

    Raises:
        InvalidRequestError: a drafter does not fit the precision.
        SpeculationLabError: a run failed, or wrote less than two tokens.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``.
    """
    weights = engine.weights_sha256(model)
    wanted = [(s, p, lab_request(p, model, precision, s)) for s in speculations for p in prompts]
    if again:
        for speculation in speculations:
            config_hash = lab_request(prompts[0], model, precision, speculation).config.hash
            drafts.forget(weights, config_hash, [prompt_sha256(prompt) for prompt in prompts])
    device = engine.status().device
    known = {
        (result.weights_sha256, result.config_hash, result.prompt_sha256)
        for result in drafts.results(model, precision)
        if measured_here(result.environment, device)
    }
    missing = [w for w in wanted if (weights, w[2].config.hash, prompt_sha256(w[1])) not in known]
    steps = Steps(report, done=2 * PAIRS * (len(wanted) - len(missing)), total=2 * PAIRS * len(wanted))
    for place, (speculation, prompt, request) in enumerate(missing, start=len(wanted) - len(missing) + 1):
        steps.at(f"Measurement {place} of {len(wanted)} · {prompt.title}")
        figures, environment = _measure(engine, prompt, request, speculation, steps)
        drafts.keep(
            DraftResult(
                model=model,
                weights_sha256=weights,
                precision=precision,
                config_hash=request.config.hash,
                prompt_sha256=prompt_sha256(prompt),
                speculation=speculation,
                created_at=datetime.now(UTC),
                figures=figures,
                environment=environment,
            )
        )
    steps.at("Done", finished=True)


def _measure(
    engine: SpeculationEngine,
    prompt: SamplePrompt,
    request: GenerationRequest,
    speculation: SpeculationConfig,
    steps: Steps,
) -> tuple[DraftFigures, Mapping[str, object]]:
    plain_request = lab_request(prompt, request.config.model, request.config.precision, None)
    plain: list[LiveRun] = []
    drafted: list[LiveRun] = []
    for _ in range(PAIRS):
        for runs, asked in ((plain, plain_request), (drafted, request)):
            runs.append(_answer(engine, asked, steps))
            steps.advance()
    last, report = drafted[-1], drafted[-1].reports.speculation
    assert last.metrics is not None  # _answer has seen to it
    if report is None:
        raise SpeculationLabError(f"{request.config.model} did not speculate: this backend has no such gear.")
    rejections = sum(entry.accepted < len(entry.token_ids) for entry in report.rounds)
    figures = DraftFigures(
        plain_tpot_s=median_tpot_s(plain),
        drafted_tpot_s=median_tpot_s(drafted),
        ratios=tpot_ratios(plain, drafted),
        tokens=len(last.token_ids),
        identical=common_start(plain[-1].token_ids, last.token_ids),
        drafted_tokens=last.metrics.drafted_tokens,
        accepted_tokens=last.metrics.accepted_tokens,
        verification_steps=last.metrics.verification_steps,
        rejections=rejections,
        predicted=_predicted(report, last.metrics.accepted_tokens, rejections, speculation.gamma),
        disturbed=disturbed_by(plain) or disturbed_by(drafted),
    )
    return figures, last.environment


def _answer(engine: SpeculationEngine, request: GenerationRequest, steps: Steps) -> LiveRun:
    try:
        run = answer_undisturbed(engine, request, lambda run: steps.meanwhile(run.loading_now))
    except RunNotFinishedError as error:
        raise SpeculationLabError(str(error)) from error
    if run.metrics is None or run.metrics.tpot_s is None:
        raise SpeculationLabError(f"“{request.prompt[:60]}” got less than two tokens: its speed cannot be told.")
    return run


def _predicted(report: SpeculationReport, accepted: int, rejections: int, gamma: int | None) -> float | None:
    """What the formula gives for the α, c and v of a run at a fixed γ."""
    if not gamma or not report.rounds:
        return None
    from engine.speculation import StepTimes, predicted_speedup  # torch, which no page is to wait for

    times = StepTimes(report.step_s)
    plain_s = times.seconds(1)
    drafting_s = report.draft_step_s.get(report.rounds[-1].drafter, 0.0)
    alpha = accepted / (accepted + rejections) if accepted + rejections else 0.0
    return predicted_speedup(alpha, gamma, drafting_s / plain_s, times.seconds(gamma + 1) / plain_s)


def common_start(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two answers begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
