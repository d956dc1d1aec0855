"""What another tier of a cascade would have said, asked in the background."""

from __future__ import annotations

from app.background.jobs import Report
from app.runs.answers import answer_unkept
from app.runs.live_run import LiveRun
from app.runs.service import InferenceEngine
from engine.types import CascadeReport, GenerationRequest, RunConfig, Tier


def others(report: CascadeReport, config: RunConfig) -> tuple[Tier, ...]:
    """The tiers that did not answer."""
    return tuple(tier for tier in config.ladder if str(tier) != report.tier)


def known_answer(report: CascadeReport, config: RunConfig, tier: Tier) -> str | None:
    """What a tier wrote before it was thrown away; ``None`` where it wrote nothing, or was cut short."""
    cascade = config.optimization.cascade
    for attempt in report.attempts:
        if attempt.tier == str(tier) and attempt.answer_score is not None and attempt.tokens:
            early = cascade.after_tokens if cascade else None
            return attempt.text if early is None or attempt.tokens < early else None
    return None


def ask_plain(engine: InferenceEngine, request: GenerationRequest, report: Report) -> str:
    """What a tier answers alone; the run is not kept.

    Raises:
        RunNotFinishedError: it failed, or was cut short.
        JobCancelled: from ``report``.
    """
    tier, most = request.config.ladder[-1], request.config.sampling.max_tokens

    def watch(run: LiveRun) -> None:
        done = min(len(run.tokens) / most, 1.0)
        if loading := run.loading_now:
            report(loading.stage, done, loading=loading.fraction)
        else:
            report(f"{tier} writes", done)

    report("Waits for the engine", 0.0)
    said = answer_unkept(engine, request, watch).text
    report("Done", 1.0)
    return said
