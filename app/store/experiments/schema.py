"""The tables of experiments. What tables and verdicts need of a cell stands in its row, so that none of the long texts
of its run is read for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText, JsonText
from app.store.people.schema import PERSON
from app.store.runs.schema import Run

_HASH = 64
_COUNTER = 32


class ExperimentRow(Base):
    """What is asked of whom, whole, so that a job can go on after a restart."""

    __tablename__ = "experiments"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    name: Mapped[str]
    person_id: Mapped[str | None] = mapped_column(CleanText(PERSON))
    """Whose it is; null for the desk's."""
    created_at: Mapped[datetime]
    question: Mapped[str]
    state: Mapped[str] = mapped_column(CleanText(16))
    error: Mapped[str | None]
    design: Mapped[Any] = mapped_column(JsonText)
    design_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    prompts: Mapped[int]
    payload: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    """The prompts."""
    judging: Mapped[Any | None] = mapped_column(JsonText)
    """Whose verdicts count, and the limits of audits; null until somebody has set them."""

    __table_args__ = (Index(None, "created_at"), Index(None, "design_sha256"))


class ExperimentCell(Base):
    """One cell; its columns are the fields of `Cell`."""

    __tablename__ = "experiment_cells"

    experiment_id: Mapped[str] = mapped_column(
        CleanText(32), ForeignKey(ExperimentRow.id, ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(CleanText(16), primary_key=True)
    configuration: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    prompt_id: Mapped[str] = mapped_column(primary_key=True)
    repeat: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    run_id: Mapped[str | None] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="SET NULL"))
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    failure: Mapped[str | None]
    score: Mapped[float | None]
    same_text: Mapped[bool | None]
    word_f1: Mapped[float | None]
    kld: Mapped[float | None]
    kld_tokens: Mapped[int | None]
    no_kld: Mapped[str | None]
    answer_sha256: Mapped[str | None] = mapped_column(CleanText(_HASH))
    disturbed: Mapped[bool | None]
    e2e_s: Mapped[float | None]
    ttft_s: Mapped[float | None]
    tpot_s: Mapped[float | None]
    prompt_tokens: Mapped[int | None]
    cached_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    weights_bytes: Mapped[int | None]
    kv_bytes: Mapped[int | None]
    peak_rss_bytes: Mapped[int | None]
    mean_batch_size: Mapped[float | None]
    energy_j: Mapped[float | None]
    energy_by: Mapped[str | None] = mapped_column(CleanText(_COUNTER))

    __table_args__ = (Index(None, "run_id"),)


class ExperimentJudgement(Base):
    """What a judge says of one answer, or of two; its columns are the fields of `Judgement` and of its key."""

    __tablename__ = "experiment_judgements"

    experiment_id: Mapped[str] = mapped_column(
        CleanText(32), ForeignKey(ExperimentRow.id, ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(primary_key=True)
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(CleanText(16), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(primary_key=True)
    first_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    second_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    created_at: Mapped[datetime]
    score: Mapped[float | None]
    reason: Mapped[str]
    no_verdict: Mapped[str | None] = mapped_column(CleanText(16))
    detail: Mapped[str]
    seconds: Mapped[float]
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]


class AutopilotRow(Base):
    """What an autopilot is to find, whole, so that its job can go on after a restart."""

    __tablename__ = "autopilots"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    name: Mapped[str]
    person_id: Mapped[str | None] = mapped_column(CleanText(PERSON))
    """Whose it is; null for the desk's."""
    created_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(CleanText(16))
    error: Mapped[str | None]
    plan: Mapped[Any] = mapped_column(JsonText)
    payload: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    """The prompts."""

    __table_args__ = (Index(None, "created_at"),)


class AutopilotHeat(Base):
    """An experiment that an autopilot made, and the seconds that it took of the budget."""

    __tablename__ = "autopilot_heats"

    experiment_id: Mapped[str] = mapped_column(
        CleanText(32), ForeignKey(ExperimentRow.id, ondelete="CASCADE"), primary_key=True
    )
    autopilot_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(AutopilotRow.id, ondelete="CASCADE"))
    seconds: Mapped[float]

    __table_args__ = (Index(None, "autopilot_id"),)
