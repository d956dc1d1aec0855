"""One prompt answered plainly and with a drafter by turns, and the drafted answer checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from app.background.jobs import Report
from app.runs.answers import RunNotFinishedError, answer_kept
from app.runs.race import LaneRun
from app.runs.verdict import Figure, Noise, Paired
from app.speculation.lab import PAIRS, SpeculationEngine, SpeculationLabError, median_tpot_s, tpot_ratios
from app.store import RunSource, RunStore
from engine.types import GenerationRequest, Losslessness

_WRITTEN = 0.8
"""Share of the work at which all runs are over, and the check begins."""


@dataclass(slots=True)
class DraftedPrompt:
    """The prompt's runs, filled in as it goes on."""

    plain: GenerationRequest
    drafted: GenerationRequest
    person_id: str
    plain_runs: list[LaneRun] = field(default_factory=list)
    """Those that have come to their end, as of the drafted ones."""
    drafted_runs: list[LaneRun] = field(default_factory=list)
    losslessness: Losslessness | None = None
    """Of the last drafted run."""

    @property
    def tpots_s(self) -> tuple[float, float] | None:
        """Median TPOT of the plain and of the drafted runs; ``None`` where an answer was too short to tell."""
        runs = (*self.plain_runs, *self.drafted_runs)
        if not runs or any(run.metrics is None or not run.metrics.tpot_s for run in runs):
            return None
        return median_tpot_s(self.plain_runs), median_tpot_s(self.drafted_runs)

    def paired(self, noise: Noise) -> Paired | None:
        """Plain against drafted TPOT, a pair of runs a round; ``None`` where an answer was too short to tell."""
        ratios = tpot_ratios(self.plain_runs, self.drafted_runs)
        return Paired.of_ratios(Figure.TPOT, ratios, noise) if ratios else None


def draft_prompt(engine: SpeculationEngine, store: RunStore, shown: DraftedPrompt, report: Report) -> None:
    """Answer the prompt in both ways by turns, keeping the runs, and check the drafted answer.

    Raises:
        SpeculationLabError: a run failed, or wrote nothing.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``; the run is then kept as stopped.
    """
    turns = [(shown.plain, shown.plain_runs, "Plain"), (shown.drafted, shown.drafted_runs, "Drafted")] * PAIRS
    for turn, (request, runs, name) in enumerate(turns):
        run, share = LaneRun(request), _WRITTEN / len(turns)
        watch = partial(_tell, report, f"{name} run {turn // 2 + 1} of {PAIRS}", share * turn, share)
        try:
            answer_kept(engine, store, run, person_id=shown.person_id, source=RunSource.LAB, watch=watch)
        except RunNotFinishedError as error:
            raise SpeculationLabError(str(error)) from error
        runs.append(run)
    last = shown.drafted_runs[-1]
    if not last.tokens or last.run_id is None:
        raise SpeculationLabError("The model answered with nothing. Try another prompt.")
    report("Checking the answer", _WRITTEN)
    shown.losslessness = engine.check_losslessness(
        shown.drafted, last.token_ids, lambda stage, fraction: report(stage, _WRITTEN + 0.15 * fraction)
    )
    store.keep_losslessness(last.run_id, shown.losslessness)
    report("Done", 1.0)


def _tell(report: Report, stage: str, begun: float, share: float, run: LaneRun) -> None:
    """Report how far one run is, which begins at ``begun`` and has a ``share`` of the work."""
    done = begun + share * len(run.tokens) / run.request.config.sampling.max_tokens
    if loading := run.loading_now:
        report(loading.stage, done, loading=loading.fraction)
    else:
        report(stage, done)
