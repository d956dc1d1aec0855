"""How the labs' results are written, so that a result which comes twice counts once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds
from app.store.database.errors import ConflictError
from app.store.labs.schema import LabAnswer, LabCorpusResult, LabCorpusWindow, LabSpeed, LabTaskAnswer
from app.store.outbox.results import Writer, to_bytes

ANSWER, WINDOW, FIGURES = "lab-answer", "lab-window", "lab-figures"
SPEED, TASK_ANSWER = "lab-speed", "lab-task-answer"


def _write_answer(session: Session, fields: Mapping[str, Any]) -> None:
    session.merge(LabAnswer(**_unpacked(fields)))


def _write_window(session: Session, fields: Mapping[str, Any]) -> None:
    session.merge(LabCorpusWindow(**_unpacked(fields)))


def _write_figures(session: Session, fields: Mapping[str, Any]) -> None:
    result = session.get(LabCorpusResult, fields["result_id"])
    if result is None:
        raise ConflictError("The measurement that these figures are of is not in this run database.")
    if result.finished_at is None:
        result.figures, result.finished_at = fields["figures"], from_microseconds(fields["finished_at"])


def _write_speed(session: Session, fields: Mapping[str, Any]) -> None:
    known = select(LabSpeed.id).where(
        LabSpeed.weights_sha256 == fields["weights_sha256"],
        LabSpeed.precision == fields["precision"],
        LabSpeed.measurement == fields["measurement"],
    )
    if session.scalar(known) is None:
        session.add(LabSpeed(**{**fields, "created_at": from_microseconds(fields["created_at"])}))


def _write_task_answer(session: Session, fields: Mapping[str, Any]) -> None:
    session.merge(LabTaskAnswer(**fields))


def _unpacked(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, "payload": to_bytes(fields["payload"])}


WRITERS: Mapping[str, Writer] = {
    ANSWER: _write_answer,
    WINDOW: _write_window,
    FIGURES: _write_figures,
    SPEED: _write_speed,
    TASK_ANSWER: _write_task_answer,
}
