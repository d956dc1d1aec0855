"""The repository of drafters that were measured, prompt by prompt.

Each prompt is kept as soon as it is measured, so that a job that was cancelled goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

from sqlalchemy import delete, select

from app.store.draft_records import DraftFigures, DraftResult
from app.store.lab_schema import LabDraft
from app.store.session import Database
from engine.types import SpeculationConfig


class DraftStore:
    """Keeps what drafters did. Safe to share between threads.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database

    def keep(self, result: DraftResult) -> None:
        """Keep a result; an earlier one of the same weights, configuration and prompt gives way."""
        columns = {
            **{name: getattr(result, name) for name in ("model", "weights_sha256", "precision", "config_hash")},
            "prompt_sha256": result.prompt_sha256,
            "created_at": result.created_at,
            "speculation": asdict(result.speculation),
            "figures": asdict(result.figures),
            "environment": dict(result.environment),
        }
        with self._database.write() as session:
            session.merge(LabDraft(**columns))

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
