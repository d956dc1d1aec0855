"""How a judgement is written, at once or out of the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.errors import GoneError
from app.store.database.identity import new_id, now
from app.store.experiments.records import JudgeId
from app.store.judging.records import LiveJudgement
from app.store.judging.schema import LiveJudgementRow, LiveJudgementText
from app.store.outbox.results import Result, Writer
from app.store.runs.schema import Run

_JUDGEMENT = "live-judgement"
_SAID = (
    "score", "reason", "no_verdict", "detail", "seconds", "prompt_tokens", "completion_tokens", "cost",
)  # fmt: skip


def by(row: Any, judge: JudgeId) -> list[ColumnElement[bool]]:
    """That a row of `LiveJudgementRow`, or an alias of it, is a judge's."""
    return [row.name == judge.name, row.weights_sha256 == judge.weights_sha256, row.version == judge.version]


def result_of(judgement: LiveJudgement) -> Result:
    """What the outbox takes."""
    values = {
        **asdict(judgement.run),
        "created_at": to_microseconds(judgement.run.created_at),
        **asdict(judgement.judge),
        **{name: getattr(judgement, name) for name in _SAID},
        "judged_at": to_microseconds(now()),
    }
    return Result(_JUDGEMENT, f"{judgement.run.run_id} {judgement.judge}", values)


def _write(session: Session, values: Mapping[str, Any]) -> None:
    if session.scalar(select(Run.id).where(Run.id == values["run_id"])) is None:
        raise GoneError("The run that this judgement is about was deleted.")
    row, judge = LiveJudgementRow, JudgeId(values["name"], values["weights_sha256"], values["version"])
    same = select(row.id).where(row.run_id == values["run_id"], *by(row, judge))
    for id in session.scalars(same).all():
        session.execute(delete(LiveJudgementText).where(LiveJudgementText.judgement_id == id))
        session.execute(delete(row).where(row.id == id))
    id = new_id()
    figures = {name: values[name] for name in _SAID if name not in ("reason", "detail")}
    of_run = {name: values[name] for name in ("run_id", "config_hash", "model", "precision", "tier")}
    session.add(
        row(
            id=id,
            **of_run,
            **figures,
            **asdict(judge),
            run_created_at=from_microseconds(values["created_at"]),
            judged_at=from_microseconds(values["judged_at"]),
        )
    )
    session.flush()
    session.add(
        LiveJudgementText(judgement_id=id, run_id=values["run_id"], reason=values["reason"], detail=values["detail"])
    )
    session.flush()


WRITERS: Mapping[str, Writer] = {_JUDGEMENT: _write}
