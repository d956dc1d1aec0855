"""The tables of the labs: what was measured of whole models, apart from single runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText, JsonText

_HASH = 64


class LabCorpus(Base):
    """A text or a set of prompts that was measured on, whole, so that a job can go on after a restart."""

    __tablename__ = "lab_corpora"

    sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime]
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class LabAnswer(Base):
    """What the 16-bit model answered to one prompt of a corpus, as the window that is scored."""

    __tablename__ = "lab_answers"

    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    corpus_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class LabCorpusResult(Base):
    """One measurement of one precision on one corpus, finished where it has figures.

    Measuring again adds a row; the newest finished one counts.
    """

    __tablename__ = "lab_corpus_results"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    model: Mapped[str]
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    precision: Mapped[str]
    corpus_sha256: Mapped[str] = mapped_column(CleanText(_HASH), ForeignKey(LabCorpus.sha256))
    windows: Mapped[int]
    """How many there are to score."""
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    figures: Mapped[Any] = mapped_column(JsonText)
    """`DivergenceStats.to_dict` of a finished one, else null."""

    __table_args__ = (Index("ix_lab_corpus_results_identity", "weights_sha256", "precision", "corpus_sha256"),)


class LabCorpusWindow(Base):
    """The per-token figures of one scored window."""

    __tablename__ = "lab_corpus_windows"

    result_id: Mapped[str] = mapped_column(
        CleanText(32), ForeignKey(LabCorpusResult.id, ondelete="CASCADE"), primary_key=True
    )
    place: Mapped[int] = mapped_column(primary_key=True)
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class LabSpeed(Base):
    """One measurement of how fast a precision answers. The newest counts."""

    __tablename__ = "lab_speeds"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    model: Mapped[str]
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    precision: Mapped[str]
    created_at: Mapped[datetime]
    tokens_per_second: Mapped[float]
    ttft_s: Mapped[float]
    weights_bytes: Mapped[int]
    environment: Mapped[Any] = mapped_column(JsonText)
    measurement: Mapped[str | None] = mapped_column(CleanText(32))
    """Which measurement it belongs to: of several servers at the same work, one speed is kept."""

    __table_args__ = (
        Index("ix_lab_speeds_identity", "weights_sha256", "precision"),
        Index("uq_lab_speeds_measurement", "weights_sha256", "precision", "measurement", unique=True),
    )


class LabTaskResult(Base):
    """One measurement of one precision on a set of tasks. Measuring again adds a row."""

    __tablename__ = "lab_task_results"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    model: Mapped[str]
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    precision: Mapped[str]
    tasks_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    tasks: Mapped[int]
    """How many there are to answer."""
    created_at: Mapped[datetime]

    __table_args__ = (Index("ix_lab_task_results_identity", "weights_sha256", "precision", "tasks_sha256"),)


class LabTaskAnswer(Base):
    """What was answered to one task, and whether it was right."""

    __tablename__ = "lab_task_answers"

    result_id: Mapped[str] = mapped_column(
        CleanText(32), ForeignKey(LabTaskResult.id, ondelete="CASCADE"), primary_key=True
    )
    task_id: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    right: Mapped[bool]


class LabLimit(Base):
    """A limit of the degradation alarm that somebody has set."""

    __tablename__ = "lab_limits"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]


class LabDraft(Base):
    """What a drafter did for one prompt: plain and drafted runs of it, measured in turn. Measuring again replaces."""

    __tablename__ = "lab_drafts"

    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    config_hash: Mapped[str] = mapped_column(CleanText(16), primary_key=True)
    """Of the drafted run: precision, drafter, γ, max tokens."""
    prompt_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    created_at: Mapped[datetime]
    model: Mapped[str]
    precision: Mapped[str]
    speculation: Mapped[Any] = mapped_column(JsonText)
    figures: Mapped[Any] = mapped_column(JsonText)
    """`DraftFigures`."""
    environment: Mapped[Any] = mapped_column(JsonText)
