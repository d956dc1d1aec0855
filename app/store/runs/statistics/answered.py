"""What whole configurations are compared by: which ones runs have, and what each run took. Columns alone: of the long
texts only the messages are read, for what stands for them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from sqlalchemy import Text, case, func, select, type_coerce
from sqlalchemy.orm import Session

from app.store.runs.queries import listed
from app.store.runs.records import RunFilter, RunStatus
from app.store.runs.schema import Run, RunContent
from engine.types import is_shared

_OVER = (RunStatus.FINISHED, RunStatus.FAILED)
_NO_MESSAGES = "[]"


@dataclass(frozen=True, slots=True)
class UsedConfiguration:
    """A configuration that runs have."""

    config_hash: str
    config: Mapping[str, Any]
    """`RunConfig.to_dict`, with the seed of one of the runs."""
    runs: int
    latest: str
    """The id of the latest of them."""


@dataclass(frozen=True, slots=True)
class AnsweredRun:
    """A run that came to its end, or failed. Durations are seconds, sizes bytes."""

    id: str
    config_hash: str
    failed: bool
    disturbed: bool
    shared: bool
    """Whether it shared its passes, so that its times are not its own."""
    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float | None
    completion_tokens: int | None
    weights_bytes: int | None
    kv_bytes: int | None
    asked_sha256: str
    """Of its messages, or of the text that it continued."""


def used_configurations(session: Session, filter: RunFilter, limit: int) -> tuple[UsedConfiguration, ...]:
    """The most used configurations of the runs that the viewer may see and that are over, the most used first."""
    used = session.execute(
        select(Run.config_hash, func.count().label("runs"), func.max(Run.id).label("latest"))
        .where(Run.status.in_(_OVER), *listed(filter))
        .group_by(Run.config_hash)
        .order_by(func.count().desc(), Run.config_hash)
        .limit(limit)
    ).all()
    of_latest = select(RunContent.run_id, RunContent.config).where(RunContent.run_id.in_([row.latest for row in used]))
    configs: dict[str, Any] = dict(session.execute(of_latest).all())
    return tuple(UsedConfiguration(row.config_hash, configs[row.latest], row.runs, row.latest) for row in used)


def answered_runs(session: Session, filter: RunFilter) -> tuple[AnsweredRun, ...]:
    """The runs that the viewer may see and that are over, the oldest first."""
    messages = type_coerce(RunContent.messages, Text)
    rows = session.execute(
        select(
            Run.id,
            Run.config_hash,
            Run.status,
            Run.disturbed,
            Run.mean_batch_size,
            Run.ttft_s,
            Run.tpot_s,
            Run.e2e_s,
            Run.completion_tokens,
            Run.weights_bytes,
            Run.kv_bytes,
            messages,
            case((messages == _NO_MESSAGES, RunContent.prompt), else_=""),
        )
        .join(RunContent, RunContent.run_id == Run.id)
        .where(Run.status.in_(_OVER), *listed(filter))
        .order_by(Run.id)  # ids sort by time
    )
    return tuple(starmap(_answered, rows))


def _answered(
    run_id: str,
    config_hash: str,
    status: str,
    disturbed: bool | None,
    mean_batch_size: float | None,
    ttft_s: float | None,
    tpot_s: float | None,
    e2e_s: float | None,
    completion_tokens: int | None,
    weights_bytes: int | None,
    kv_bytes: int | None,
    messages: str,
    continued: str,
) -> AnsweredRun:
    return AnsweredRun(
        id=run_id,
        config_hash=config_hash,
        failed=status == RunStatus.FAILED,
        disturbed=bool(disturbed),
        shared=is_shared(mean_batch_size),
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        e2e_s=e2e_s,
        completion_tokens=completion_tokens,
        weights_bytes=weights_bytes,
        kv_bytes=kv_bytes,
        asked_sha256=hashlib.sha256(f"{messages}{continued}".encode()).hexdigest(),
    )
