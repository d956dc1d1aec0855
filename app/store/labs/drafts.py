"""The repository of drafters that were measured, prompt by prompt.

Each prompt is kept as soon as it is measured, so that a job that was cancelled goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.session import Database
from app.store.labs.draft_records import DraftFigures, DraftResult
from app.store.labs.schema import LabDraft
from app.store.outbox.outbox import Outbox
from app.store.outbox.results import Result, Writer
from engine.types import SpeculationConfig

_DRAFT = "draft"
_KEY = ("weights_sha256", "config_hash", "prompt_sha256")


class DraftStore:
    """Keeps what drafters did. Safe to share between threads.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        """Use a database whose schema is up to date, and the outbox before it."""
        self._database = database
        self._outbox = outbox

    def keep(self, result: DraftResult) -> None:
        """Keep a result; an earlier one of the same weights, configuration and prompt gives way."""
        fields = {
            **{name: str(getattr(result, name)) for name in ("model", "precision", *_KEY)},
            "created_at": to_microseconds(result.created_at),
            "speculation": asdict(result.speculation),
            "figures": asdict(result.figures),
            "environment": dict(result.environment),
        }
        self._outbox.keep(Result(_DRAFT, " ".join(str(fields[name]) for name in _KEY), fields))

    def results(self, model: str, precision: str) -> tuple[DraftResult, ...]:
        """All that is known of a model at a precision, oldest first."""
        rows = select(LabDraft).where(LabDraft.model == model, LabDraft.precision == precision)
        with self._database.read() as session:
            found = session.scalars(rows.order_by(LabDraft.created_at)).all()
        return tuple(
            DraftResult(
                model=row.model,
                weights_sha256=row.weights_sha256,
                precision=row.precision,
                config_hash=row.config_hash,
                prompt_sha256=row.prompt_sha256,
                speculation=SpeculationConfig.from_dict(row.speculation),
                created_at=row.created_at,
                figures=DraftFigures(**row.figures),
                environment=row.environment,
            )
            for row in found
        )

    def forget(self, weights_sha256: str, config_hash: str, prompts_sha256: Collection[str]) -> None:
        """Drop what is known of some prompts, so that they are measured again."""
        with self._database.write() as session:
            session.execute(
                delete(LabDraft).where(
                    LabDraft.weights_sha256 == weights_sha256,
                    LabDraft.config_hash == config_hash,
                    LabDraft.prompt_sha256.in_(prompts_sha256),
                )
            )


def _write_draft(session: Session, fields: Mapping[str, Any]) -> None:
    kept = LabDraft(**{**fields, "created_at": from_microseconds(fields["created_at"])})
    there = session.get(LabDraft, tuple(fields[name] for name in _KEY))
    if there is None or there.created_at <= kept.created_at:
        session.merge(kept)


WRITERS: Mapping[str, Writer] = {_DRAFT: _write_draft}
