"""How far apart the figures of runs lie that did the same work on one machine: what the database says of its noise."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.store.runs.queries import ran_alone
from app.store.runs.records import RunStatus
from app.store.runs.schema import Run, RunContent

TIMES = ("ttft_s", "tpot_s", "e2e_s")
_LOOKED_AT = 1_000
"""The newest runs of all hosts: what is older than they says little of the machine as it is now."""
_QUEUED_S = 0.05
_DAY_US = 24 * 3600 * 10**6
# runs that agree in these, in their messages and in the day they were made on did the same work
_WORK = (
    "source",  # labs measure beside other models: their runs repeat one another, and nobody else's
    "config_hash",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "drafted_tokens",
    "accepted_tokens",
    "verification_steps",
    "discarded_tokens",
)


@dataclass(frozen=True, slots=True)
class Repeats:
    """How one figure varied over repeated runs, all configurations together."""

    degrees: int = 0
    """Degrees of freedom: the runs less one for each configuration."""
    squares: float = 0.0
    """Sum of the squared deviations of the figure's natural logarithm from the mean of its configuration."""


def repeats(session: Session, host: str, *, without: str | None) -> dict[str, Repeats]:
    """By the name of the figure (`TIMES`), how far apart repeated runs lie.

    Args:
        session: to read with.
        host: on which they ran.
        without: a group of runs that is left out: one that is to be judged by what the others say.
    """
    newest = select(Run.id).order_by(Run.created_at.desc()).limit(_LOOKED_AT)
    rows = session.execute(
        select(Run.id, Run.created_at, *(getattr(Run, name) for name in (*_WORK, *TIMES))).where(
            Run.id.in_(newest),
            Run.owner_host == host,
            Run.status == RunStatus.FINISHED,
            Run.queue_s < _QUEUED_S,
            Run.disturbed.is_not(True),
            ran_alone(),
            *(() if without is None else (Run.group_id.is_distinct_from(without),)),
        )
    ).all()
    alike = [group for group in _grouped((_work(row), row) for row in rows) if len(group) > 1]
    prompts = _prompts(session, [row.id for group in alike for row in group])
    same = [group for each in alike for group in _grouped((prompts[row.id], row) for row in each) if len(group) > 1]
    return {name: _pooled([[getattr(row, name) for row in group] for group in same]) for name in TIMES}


def _work(row: Row[Any]) -> tuple[object, ...]:
    day = int(row.created_at.timestamp() * 10**6) // _DAY_US
    return (day, *(getattr(row, name) for name in _WORK))


def _prompts(session: Session, run_ids: Sequence[str]) -> dict[str, str]:
    """What stands for the messages of each run."""
    rows = session.execute(select(RunContent.run_id, RunContent.messages).where(RunContent.run_id.in_(run_ids)))
    return {run_id: hashlib.sha256(json.dumps(messages).encode()).hexdigest() for run_id, messages in rows}


def _grouped(pairs: Iterable[tuple[object, Row[Any]]]) -> list[list[Row[Any]]]:
    groups: dict[object, list[Row[Any]]] = {}
    for key, row in pairs:
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def _pooled(groups: Iterable[Sequence[float | None]]) -> Repeats:
    degrees, squares = 0, 0.0
    for group in groups:
        logs = [math.log(value) for value in group if value]
        if len(logs) > 1:
            mean = fmean(logs)
            degrees += len(logs) - 1
            squares += sum((value - mean) ** 2 for value in logs)
    return Repeats(degrees, squares)
