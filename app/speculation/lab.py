"""The work of the Speculation lab, for background jobs: plain and drafted runs in turn, of the same prompts.

Every prompt is kept as soon as it is measured, so work that was cancelled goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from statistics import median
from typing import Protocol

from app.environment import measured_here
from app.jobs import Report, Steps
from app.runs.prompts import SamplePrompt, load_prompts
from app.runs.service import InferenceEngine, RunCreated, RunNotFinishedError, answer_unkept, stream
from app.settings import REPOSITORY
from app.speculation.losslessness import CheckingEngine
from app.store import DraftFigures, DraftResult, DraftStore, RunStore
from engine import EngineStatus
from engine.errors import GearboxError
from engine.types import (
    GenerationRequest,
    Loading,
    Losslessness,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
    SpeculationConfig,
    SpeculationReport,
    TokenEvent,
)

PROMPTS = REPOSITORY / "data" / "prompts" / "speculation.jsonl"
GAMMAS = (1, 2, 3, 4, 6, 8, 12, 16)
MAX_TOKENS = 96
"""Of a measured answer."""
PAIRS = 3
"""Plain and drafted runs of each prompt; the medians count."""
_WRITTEN = 0.8
"""Share of the work on one prompt at which all runs are over, and the check begins."""


class SpeculationLabError(GearboxError):
    """A measurement did not come to its end."""


class SpeculationEngine(InferenceEngine, CheckingEngine, Protocol):
    """What the lab needs of an engine; see `engine.Engine`."""

    def status(self) -> EngineStatus: ...
    def weights_sha256(self, model: str) -> str: ...


def lab_prompts(path: Path = PROMPTS) -> tuple[SamplePrompt, ...]:
    """The lab's own prompts, some of whose answers copy much of the prompt."""
    return load_prompts(path)


def one_of_each(prompts: Sequence[SamplePrompt]) -> tuple[SamplePrompt, ...]:
    """The first prompt of each category: enough to choose a drafter by."""
    return tuple({prompt.category: prompt for prompt in reversed(prompts)}.values())[::-1]


def prompt_sha256(prompt: SamplePrompt) -> str:
    """Identity of a prompt's text."""
    return hashlib.sha256(f"{prompt.system}\0{prompt.prompt}".encode()).hexdigest()


def lab_request(
    prompt: SamplePrompt,
    model: str,
    precision: Precision,
    speculation: SpeculationConfig | None,
    *,
    max_tokens: int = MAX_TOKENS,
) -> GenerationRequest:
    """A prompt answered greedily from a cold start, with a drafter or without.

    Raises:
        InvalidRequestError: the prompt is empty, or the drafter does not fit the precision.
    """
    system = (Message("system", prompt.system),) if prompt.system else ()
    return GenerationRequest(
        messages=(*system, Message("user", prompt.prompt)),
        config=RunConfig(
            model=model,
            optimization=OptimizationConfig.at(precision, speculation=speculation),
            sampling=SamplingParams(max_tokens=max_tokens),
        ),
        cold=True,
    )


# --- on many prompts ------------------------------------------------------------------------------------


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
    """Measure what drafters do for prompts: plain and drafted runs in turn, the medians kept.

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
    plain: list[RunFinished] = []
    drafted: list[RunFinished] = []
    for _ in range(PAIRS):
        for ends, asked in ((plain, plain_request), (drafted, request)):
            ends.append(_answer(engine, asked, steps))
            steps.advance()
    last, report = drafted[-1], drafted[-1].speculation
    assert last.metrics is not None  # _answer has seen to it
    if report is None:
        raise SpeculationLabError(f"{request.config.model} did not speculate: this backend has no such gear.")
    rejections = sum(entry.accepted < len(entry.token_ids) for entry in report.rounds)
    figures = DraftFigures(
        plain_tpot_s=_tpot_s(plain),
        drafted_tpot_s=_tpot_s(drafted),
        tokens=len(last.token_ids),
        identical=common_start(plain[-1].token_ids, last.token_ids),
        drafted_tokens=last.metrics.drafted_tokens,
        accepted_tokens=last.metrics.accepted_tokens,
        verification_steps=last.metrics.verification_steps,
        rejections=rejections,
        predicted=_predicted(report, last.metrics.accepted_tokens, rejections, speculation.gamma),
    )
    return figures, last.environment


def _answer(engine: SpeculationEngine, request: GenerationRequest, steps: Steps) -> RunFinished:
    try:
        end = answer_unkept(engine, request, steps.watch)
    except RunNotFinishedError as error:
        raise SpeculationLabError(str(error)) from error
    if end.metrics is None or end.metrics.tpot_s is None:
        raise SpeculationLabError(f"“{request.prompt[:60]}” got less than two tokens: its speed cannot be told.")
    return end


def _tpot_s(ends: Sequence[RunFinished]) -> float:
    return median(end.metrics.tpot_s for end in ends if end.metrics and end.metrics.tpot_s is not None)


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


# --- on one prompt --------------------------------------------------------------------------------------


@dataclass(slots=True)
class DraftedPrompt:
    """One prompt answered plainly and with a drafter in turn, filled in as it goes on."""

    plain: GenerationRequest
    drafted: GenerationRequest
    session_id: str
    plain_ends: list[RunFinished] = field(default_factory=list)
    drafted_ends: list[RunFinished] = field(default_factory=list)
    tokens: list[TokenEvent] = field(default_factory=list)
    """Of the last drafted run."""
    run_id: str | None = None
    """The same run's."""
    losslessness: Losslessness | None = None

    @property
    def tpots_s(self) -> tuple[float, float] | None:
        """Median TPOT of the plain and of the drafted runs; ``None`` where an answer was too short to tell."""
        ends = (*self.plain_ends, *self.drafted_ends)
        if not ends or any(end.metrics is None or not end.metrics.tpot_s for end in ends):
            return None
        return _tpot_s(self.plain_ends), _tpot_s(self.drafted_ends)


def draft_prompt(engine: SpeculationEngine, store: RunStore, shown: DraftedPrompt, report: Report) -> None:
    """Answer the prompt in both ways by turns, keeping the runs, and check the drafted answer.

    Raises:
        SpeculationLabError: a run failed, or wrote nothing.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``; the run is then kept as stopped.
    """
    turns = [(shown.plain, shown.plain_ends, "Plain"), (shown.drafted, shown.drafted_ends, "Drafted")] * PAIRS
    for turn, (request, ends, name) in enumerate(turns):
        shown.tokens = []
        begun, share = _WRITTEN * turn / len(turns), _WRITTEN / len(turns)
        stage = f"{name} run {turn // 2 + 1} of {PAIRS}"
        with closing(stream(engine, store, request, session_id=shown.session_id)) as events:
            for event in events:
                match event:
                    case RunCreated(run_id=run_id):
                        shown.run_id = run_id
                    case Loading(stage=loading):
                        report(loading, begun)
                    case TokenEvent():
                        shown.tokens.append(event)
                        report(stage, begun + share * len(shown.tokens) / request.config.sampling.max_tokens)
                    case RunFailed(error=error):
                        raise SpeculationLabError(error)
                    case RunFinished():
                        ends.append(event)
                    case _:
                        report(stage, begun)
    end = shown.drafted_ends[-1] if shown.drafted_ends else None
    if end is None or not end.token_ids or shown.run_id is None:
        raise SpeculationLabError("The model answered with nothing. Try another prompt.")
    report("Checking the answer", _WRITTEN)
    rounds = end.speculation.rounds if end.speculation else ()
    shown.losslessness = engine.check_losslessness(
        shown.drafted, end.token_ids, rounds, lambda stage, fraction: report(stage, _WRITTEN + 0.15 * fraction)
    )
    store.keep_losslessness(shown.run_id, shown.losslessness)
    report("Done", 1.0)
