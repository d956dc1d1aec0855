"""How models answered here, alone and in company."""

from __future__ import annotations

from statistics import median
from typing import Any

from sqlalchemy import Text, func, select, type_coerce
from sqlalchemy.orm import Session

from app.store.runs.figures import AnswerSpeed
from app.store.runs.records import RunStatus
from app.store.runs.schema import Run, RunContent
from engine.types import GearKind, backends_with, is_shared

_LEAST_TOKENS = 2


def answer_speeds(session: Session, host: str, limit: int) -> tuple[AnswerSpeed, ...]:
    """By model and precision, once for runs that had the engine alone and once for those that shared it: of the latest
    finished runs of Gearbox's own backend on a host, those with the most runs first. Cascades and disturbed runs are
    left out.

    Args:
        session: to read with.
        host: where they ran.
        limit: how many runs are looked at, all together.
    """
    rows = session.execute(
        select(
            Run.model,
            Run.precision,
            Run.prompt_tokens,
            Run.completion_tokens,
            (Run.e2e_s - Run.queue_s).label("answering_s"),
            Run.mean_batch_size,
        )
        .join(RunContent, RunContent.run_id == Run.id)
        .where(
            # an absent report is kept as JSON's null, and as SQL's in runs older than the gear
            func.coalesce(type_coerce(RunContent.cascade, Text), "null") == "null",
            Run.backend.in_(backends_with(GearKind.QUANTIZATION)),
            Run.status == RunStatus.FINISHED,
            Run.owner_host == host,
            Run.disturbed.is_not(True),
            Run.completion_tokens >= _LEAST_TOKENS,
            Run.e2e_s > Run.queue_s,
        )
        .order_by(Run.created_at.desc())
        .limit(limit)
    )
    groups: dict[tuple[str, str, bool], list[Any]] = {}
    for row in rows:
        groups.setdefault((row.model, row.precision, is_shared(row.mean_batch_size)), []).append(row)
    found = [
        AnswerSpeed(
            model=model,
            precision=precision,
            runs=len(runs),
            prompt_tokens=round(median(run.prompt_tokens for run in runs)),
            completion_tokens=round(median(run.completion_tokens for run in runs)),
            e2e_s=median(run.answering_s for run in runs),
            mean_batch_size=median(run.mean_batch_size for run in runs) if shared else 1.0,
        )
        for (model, precision, shared), runs in groups.items()
    ]
    return tuple(sorted(found, key=lambda speed: -speed.runs))
