"""What is kept of a run as a cell of an experiment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from app.costs.energy import Energy
from app.experiments.planning.scoring import Likeness, checked
from app.runs.race import LaneRun
from app.store import Cell, CellKey, RunRecord, answer_sha256
from engine import Task
from engine.types import RemoteReport, RunMetrics

_MEASURED = (
    "e2e_s", "ttft_s", "tpot_s", "prompt_tokens", "cached_tokens", "completion_tokens", "weights_bytes", "kv_bytes",
    "peak_rss_bytes", "mean_batch_size",
)  # fmt: skip
"""What a cell keeps of its run's metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A run that is over: just now, or as the store has it."""

    run_id: str | None
    text: str
    failure: str | None
    """Why there is no answer, for the user."""
    metrics: RunMetrics | None
    disturbed: bool | None
    weights_sha256: str | None
    """Of the model that answered, as the engine says; ``None`` where it does not."""
    remote: RemoteReport | None = None
    """What the server told, if one answered."""
    energy: Energy | None = None
    """That the machine counted while it had the engine to itself."""

    @classmethod
    def of_run(cls, run: LaneRun) -> Self:
        """Of a run that was just made."""
        disturbance = run.reports.disturbance
        return cls(
            run_id=run.run_id,
            text=run.text,
            failure=run.error,
            metrics=run.metrics,
            disturbed=None if disturbance is None else disturbance.is_disturbed,
            weights_sha256=run.environment.get("weights_sha256"),
            remote=run.remote,
        )

    @classmethod
    def of_record(cls, record: RunRecord) -> Self:
        """Of a run that the store has."""
        return cls(
            run_id=record.id,
            text=record.text,
            failure=record.error,
            metrics=record.metrics,
            disturbed=None if record.disturbance is None else record.disturbance.is_disturbed,
            weights_sha256=record.environment.get("weights_sha256"),
            remote=RemoteReport.of(record.environment),
        )


def cell_of(
    key: CellKey, answered: Answered, weights_sha256: str, task: Task, *, scored: bool, reference: str | None
) -> Cell:
    """The cell of a run.

    Args:
        key: which one.
        answered: its run.
        weights_sha256: of all models of its configuration.
        task: its prompt.
        scored: whether its text counts.
        reference: the baseline's answer, where there is one to hold it against.
    """
    if answered.failure is not None:
        return Cell(key=key, run_id=answered.run_id, weights_sha256=weights_sha256, failure=answered.failure)
    cell = Cell(
        key=key,
        run_id=answered.run_id,
        weights_sha256=weights_sha256,
        score=checked(task, answered.text) if scored else None,
        answer_sha256=answer_sha256(answered.text),
        disturbed=answered.disturbed,
        energy_j=answered.energy.joules if answered.energy else None,
        energy_by=answered.energy.source if answered.energy else None,
        **{name: getattr(answered.metrics, name, None) for name in _MEASURED},
    )
    if answered.remote:
        cached = answered.remote.cached_tokens
        cell = replace(cell, cached_tokens=cached, weights_bytes=None, kv_bytes=None, peak_rss_bytes=None)
    return cell if reference is None else likened(cell, answered.text, reference)


def likened(cell: Cell, text: str, reference: str) -> Cell:
    """A cell whose text is held against the baseline's."""
    likeness = Likeness.of(text, reference)
    return replace(cell, same_text=likeness.same_text, word_f1=likeness.word_f1)
