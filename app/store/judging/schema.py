"""The tables of live judgements. Figures outlive their runs; what a judge wrote of a run goes with it; what
questions took is kept apart, for it was spent whatever came of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText
from app.store.runs.schema import LETS_GO, Run


class LiveJudgementRow(Base):
    """What a judge made of one run."""

    __tablename__ = "live_judgements"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    run_id: Mapped[str | None] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="SET NULL", info=LETS_GO))
    run_created_at: Mapped[datetime]
    judged_at: Mapped[datetime]
    name: Mapped[str]
    weights_sha256: Mapped[str] = mapped_column(CleanText(64))
    version: Mapped[int]
    config_hash: Mapped[str] = mapped_column(CleanText(16))
    model: Mapped[str]
    precision: Mapped[str]
    tier: Mapped[str]
    score: Mapped[float | None]
    no_verdict: Mapped[str | None] = mapped_column(CleanText(16))
    seconds: Mapped[float]
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    cost: Mapped[float]

    __table_args__ = (
        Index(None, "run_id", "name", "weights_sha256", "version", unique=True),
        Index(None, "run_created_at"),
    )


class LiveJudgementText(Base):
    """What it wrote."""

    __tablename__ = "live_judgement_texts"

    judgement_id: Mapped[str] = mapped_column(
        CleanText(32), ForeignKey(LiveJudgementRow.id, ondelete="CASCADE"), primary_key=True
    )
    run_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="CASCADE", info=LETS_GO))
    reason: Mapped[str]
    detail: Mapped[str]

    __table_args__ = (Index(None, "run_id"),)


class JudgingCharge(Base):
    """A question that was asked, whatever came of it: what the budget is counted by. Rows are never deleted."""

    __tablename__ = "judging_charges"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    asked_at: Mapped[datetime]
    cost: Mapped[float]

    __table_args__ = (Index(None, "asked_at"),)
