"""One prompt answered at a precision, and the answer read again by the 16-bit model."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.background.jobs import Report
from app.quantization.lab import LabEngine, LabError
from app.runs.answers import RunNotFinishedError, answer_kept
from app.runs.race import LaneRun
from app.store import RunSource, RunStore
from engine import AnswerDivergence

_WRITTEN = 0.6
"""Share of a prompt's check at which its answer is written."""


@dataclass
class PromptCheck(LaneRun):
    """The prompt's run, filled in as it goes on, and what reading its answer again showed."""

    person_id: str
    divergence: AnswerDivergence | None = field(default=None, kw_only=True)


def check_prompt(engine: LabEngine, store: RunStore, checked: PromptCheck, report: Report) -> None:
    """Answer the prompt, keeping the run, and compare the answer with the 16-bit model token by token.

    Raises:
        LabError: the run failed, or wrote nothing.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``; the run is then kept as stopped.
    """
    stage, max_tokens = f"Answering in {checked.request.config.precision}", checked.request.config.sampling.max_tokens

    def watch(run: LaneRun) -> None:
        if run.tokens:
            report(f"{stage} · token {len(run.tokens)}", _WRITTEN * len(run.tokens) / max_tokens)
        elif loading := run.loading_now:
            report(loading.stage, 0.0, loading=loading.fraction)
        else:
            report(stage, 0.0)

    report(stage, 0.0)
    try:
        answer_kept(engine, store, checked, person_id=checked.person_id, source=RunSource.LAB, watch=watch)
    except RunNotFinishedError as error:
        raise LabError(str(error)) from error
    if not checked.tokens:
        raise LabError("The model answered with nothing, so there is nothing to compare. Try another prompt.")
    report("Reading the answer with the 16-bit model", _WRITTEN)
    checked.divergence = engine.compare_answer(
        checked.request,
        checked.token_ids,
        lambda stage, fraction: report(stage, _WRITTEN + (0.95 - _WRITTEN) * fraction),
    )
    report("Done", 1.0)
