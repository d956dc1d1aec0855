"""Which runs a judge is asked about next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, exists, func, or_, select

from app.store.experiments.records import JudgeId, NoVerdict
from app.store.judging.schema import LiveJudgementRow
from app.store.judging.writing import by
from app.store.runs.queries import conditions
from app.store.runs.records import WITHOUT_LABS, RunFilter, RunStatus
from app.store.runs.schema import Run, RunContent
from engine.types import Backend

_DRAW = 4
"""Hex digits at a run's end, which are random: what decides whether it is in a sample."""
COLUMNS = ("id", "created_at", "config_hash", "model", "precision", "tier")


def sample(judge: JudgeId, *, share: float, since: datetime, most: int) -> Select[Any]:
    """`COLUMNS` of the runs, of each configuration and tier in turn, of each the newest first: however many there are
    of one, those of the others are among the first. See `JudgingStore.candidates`."""
    # the ends of ids are random hex digits, which sort alike everywhere
    draw = func.substr(Run.id, 33 - _DRAW, _DRAW)
    alone = case((Run.backend == Backend.REMOTE, Run.model), else_=Run.model.concat(" ").concat(Run.precision))
    tier = func.coalesce(Run.tier, alone).label("tier")
    first = func.row_number().over(partition_by=(Run.config_hash, tier), order_by=draw.concat(Run.id))
    live = (
        select(
            Run.id, Run.created_at, Run.config_hash, Run.model, Run.precision, tier, draw.label("draw"),
            first.label("place"),
        )
        .where(*conditions(RunFilter(statuses=(RunStatus.FINISHED,), sources=WITHOUT_LABS, since=since)))
        .where(or_(Run.completion_tokens.is_(None), Run.completion_tokens > 0))
        .subquery()
    )  # fmt: skip
    drawn = round(share * 16**_DRAW)
    is_drawn = [] if drawn >= 16**_DRAW else [or_(live.c.draw < f"{drawn:0{_DRAW}x}", live.c.place == 1)]
    judged = exists().where(LiveJudgementRow.run_id == live.c.id, *by(LiveJudgementRow, judge), _is_settled())
    newest = (live.c.created_at.desc(), live.c.id.desc())
    turn = func.row_number().over(partition_by=(live.c.config_hash, live.c.tier), order_by=newest)
    waiting = (
        select(*(live.c[name] for name in COLUMNS), turn.label("turn"))
        .join(RunContent, RunContent.run_id == live.c.id)
        .where(*is_drawn, ~judged, RunContent.text != "")
        .subquery()
    )
    return (
        select(*(waiting.c[name] for name in COLUMNS))
        .order_by(waiting.c.turn, waiting.c.created_at.desc(), waiting.c.id.desc())
        .limit(most)
    )


def _is_settled() -> ColumnElement[bool]:
    none = LiveJudgementRow.no_verdict
    return or_(none.is_(None), none != NoVerdict.NO_ANSWER)
