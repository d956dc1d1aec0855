"""The tables of the sentinel. Answers keep their own texts and tokens: what was accepted outlives its run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText, JsonText
from app.store.people.schema import PERSON
from app.store.runs.schema import LETS_GO, Run


class GoldenRow(Base):
    """A prompt that is replayed; its columns are the fields of `GoldenPrompt`."""

    __tablename__ = "golden_prompts"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    name: Mapped[str]
    person_id: Mapped[str | None] = mapped_column(CleanText(PERSON))
    created_at: Mapped[datetime]
    run_id: Mapped[str | None] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="SET NULL"))
    messages: Mapped[Any] = mapped_column(JsonText)
    completion: Mapped[str | None]
    config: Mapped[Any] = mapped_column(JsonText)
    checker: Mapped[str | None] = mapped_column(CleanText(16))
    expected: Mapped[Any] = mapped_column(JsonText)
    baseline_id: Mapped[str] = mapped_column(CleanText(32))

    __table_args__ = (Index(None, "run_id"),)


class RoundRow(Base):
    """One replay of golden prompts."""

    __tablename__ = "sentinel_rounds"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    created_at: Mapped[datetime]
    cause: Mapped[str] = mapped_column(CleanText(16))
    changes: Mapped[Any] = mapped_column(JsonText)
    golden_ids: Mapped[Any] = mapped_column(JsonText)
    ended_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "created_at"),)


class GoldenAnswerRow(Base):
    """An answer to a golden prompt; its columns are the fields of `GoldenAnswer`, and its place among the others."""

    __tablename__ = "golden_answers"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    golden_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(GoldenRow.id, ondelete="CASCADE"))
    number: Mapped[int]
    """From 1, in the order in which they were kept, whatever clocks say."""
    round_id: Mapped[str | None] = mapped_column(CleanText(32), ForeignKey(RoundRow.id, ondelete="SET NULL"))
    created_at: Mapped[datetime]
    run_id: Mapped[str | None] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="SET NULL", info=LETS_GO))
    text: Mapped[str]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    """The tokens."""
    score: Mapped[float | None]
    fingerprint: Mapped[Any] = mapped_column(JsonText)
    ttft_s: Mapped[Any] = mapped_column(JsonText)
    tpot_s: Mapped[Any] = mapped_column(JsonText)
    disturbed: Mapped[int]
    kld: Mapped[float | None]
    kld_tokens: Mapped[int | None]
    no_kld: Mapped[str | None]
    failure: Mapped[str | None]
    against_id: Mapped[str | None] = mapped_column(CleanText(32))
    deviations: Mapped[Any] = mapped_column(JsonText)
    accepted_at: Mapped[datetime | None]
    known_at: Mapped[datetime | None]
    note: Mapped[str]

    __table_args__ = (
        Index(None, "golden_id", "number", unique=True),
        Index(None, "golden_id", "round_id", unique=True),
        Index(None, "round_id"),
        Index(None, "run_id"),
    )
