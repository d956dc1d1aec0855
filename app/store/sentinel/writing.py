"""How golden prompts and their answers stand in rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.errors import GoneError
from app.store.database.packing import pack, unpack
from app.store.outbox.results import Writer, to_bytes, to_text
from app.store.runs.schema import Run
from app.store.sentinel.records import Deviation, GoldenAnswer, GoldenPrompt
from app.store.sentinel.schema import GoldenAnswerRow, GoldenRow
from engine.types import Message

ANSWER = "golden-answer"
_PLAIN = (
    "id", "golden_id", "round_id", "run_id", "text", "score", "disturbed", "kld", "kld_tokens", "no_kld", "failure",
    "against_id", "note",
)  # fmt: skip


def golden_from(row: GoldenRow) -> GoldenPrompt:
    """The record of a row."""
    return GoldenPrompt(
        id=row.id,
        name=row.name,
        person_id=row.person_id,
        created_at=row.created_at,
        run_id=row.run_id,
        messages=tuple(Message(**tree) for tree in row.messages),
        completion=row.completion,
        config=row.config,
        checker=row.checker,
        expected=row.expected,
        baseline_id=row.baseline_id,
    )


def answer_from(row: GoldenAnswerRow) -> GoldenAnswer:
    """The record of a row."""
    return GoldenAnswer(
        **{name: getattr(row, name) for name in _PLAIN},
        created_at=row.created_at,
        token_ids=tuple(unpack(row.payload)),
        fingerprint=row.fingerprint,
        ttft_s=tuple(row.ttft_s),
        tpot_s=tuple(row.tpot_s),
        deviations=tuple(Deviation(each) for each in row.deviations),
        accepted_at=row.accepted_at,
        known_at=row.known_at,
    )


def values_of(answer: GoldenAnswer) -> dict[str, Any]:
    """An answer as JSON values."""
    return {
        **{name: getattr(answer, name) for name in _PLAIN},
        "created_at": to_microseconds(answer.created_at),
        "payload": to_text(pack(list(answer.token_ids))),
        "fingerprint": dict(answer.fingerprint),
        "ttft_s": list(answer.ttft_s),
        "tpot_s": list(answer.tpot_s),
        "deviations": list(answer.deviations),
        "known_at": None if answer.known_at is None else to_microseconds(answer.known_at),
    }


def row_of(values: Mapping[str, Any], *, number: int) -> GoldenAnswerRow:
    """The row of what :func:`values_of` gave."""
    known: datetime | None = None if values["known_at"] is None else from_microseconds(values["known_at"])
    return GoldenAnswerRow(
        **{name: values[name] for name in (*_PLAIN, "fingerprint", "ttft_s", "tpot_s", "deviations")},
        number=number,
        created_at=from_microseconds(values["created_at"]),
        payload=to_bytes(values["payload"]),
        known_at=known,
    )


def _write_answer(session: Session, values: Mapping[str, Any]) -> None:
    golden_id, row = values["golden_id"], GoldenAnswerRow
    if session.get(GoldenRow, golden_id, with_for_update=True) is None:
        raise GoneError("The golden prompt that this answer belongs to was deleted.")
    there = select(row.id).where(row.golden_id == golden_id, row.round_id == values["round_id"])
    if session.scalar(there) is not None:
        return
    number = 1 + (session.scalar(select(func.max(row.number)).where(row.golden_id == golden_id)) or 0)
    run_id = values["run_id"] and session.scalar(select(Run.id).where(Run.id == values["run_id"]))
    session.add(row_of({**values, "run_id": run_id}, number=number))
    session.flush()


WRITERS: Mapping[str, Writer] = {ANSWER: _write_answer}
