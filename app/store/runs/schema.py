"""The tables. Portable: nothing here is SQLite's alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Dialect,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from engine.untrusted import valid_text, valid_tree

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC of an aware datetime."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(microseconds: int) -> datetime:
    """The inverse of `to_microseconds`."""
    return _EPOCH + timedelta(microseconds=microseconds)


class Moment(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since 1970 UTC: it sorts, compares and divides alike everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


class CleanText(TypeDecorator[str]):
    """Text without the characters that some database cannot hold."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else valid_text(value)


class JsonText(TypeDecorator[Any]):
    """JSON kept as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return json.dumps(valid_tree(value), ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: CleanText,
        int: BigInteger,
        float: Float(53),
        datetime: Moment,
    }


class Run(Base):
    """What lists, filters and statistics read; kept narrow, so that a scan of all runs stays quick."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    created_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(CleanText(16))
    group_id: Mapped[str | None]
    session_id: Mapped[str]

    model: Mapped[str]
    backend: Mapped[str]
    precision: Mapped[str]
    config_hash: Mapped[str] = mapped_column(CleanText(16))
    seed: Mapped[int]

    finish_reason: Mapped[str | None]
    ttft_s: Mapped[float | None]
    tpot_s: Mapped[float | None]
    itl_p50_s: Mapped[float | None]
    itl_p99_s: Mapped[float | None]
    e2e_s: Mapped[float | None]
    queue_s: Mapped[float | None]
    load_s: Mapped[float | None]
    prefill_s: Mapped[float | None]
    prompt_tokens: Mapped[int | None]
    cached_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    drafted_tokens: Mapped[int | None]
    accepted_tokens: Mapped[int | None]
    verification_steps: Mapped[int | None]
    discarded_tokens: Mapped[int | None]
    weights_bytes: Mapped[int | None]
    kv_bytes: Mapped[int | None]
    peak_rss_bytes: Mapped[int | None]
    repetition: Mapped[float | None]

    rating: Mapped[int] = mapped_column(SmallInteger, default=0)
    note: Mapped[str] = mapped_column(default="")

    # Who is running it: a row whose owner is dead was interrupted.
    owner_host: Mapped[str]
    owner_pid: Mapped[int]
    owner_started: Mapped[float]
    """When the owning process started, in seconds since 1970: pids are reused."""
    owner_lock: Mapped[str | None]
    """Name of the file beside the database that the owning process holds while it lives; null where there is none."""
    seen_at: Mapped[datetime]
    """When the owner last wrote; tells of owners on other hosts without a lock, whose processes cannot be looked up."""

    content: Mapped[RunContent] = relationship(cascade="all, delete-orphan", passive_deletes=True, lazy="raise")
    timeline: Mapped[RunTimeline | None] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, lazy="raise"
    )
    tags: Mapped[list[RunTag]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, lazy="raise", order_by="RunTag.tag"
    )

    __table_args__ = (
        CheckConstraint("status IN ('running', 'finished', 'stopped', 'failed', 'interrupted')", name="status"),
        CheckConstraint("rating IN (-1, 0, 1)", name="rating"),
        Index(None, "created_at", "id"),
        Index("ix_runs_configuration", "config_hash", "model", "backend", "precision"),
        Index(None, "model", "created_at"),
        Index(None, "status", "created_at"),
        Index(None, "group_id"),
    )


class RunContent(Base):
    """The long texts of a run."""

    __tablename__ = "run_contents"

    run_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="CASCADE"), primary_key=True)
    prompt: Mapped[str]
    text: Mapped[str] = mapped_column(default="")
    error: Mapped[str | None]
    error_kind: Mapped[str | None]
    messages: Mapped[Any] = mapped_column(JsonText)
    config: Mapped[Any] = mapped_column(JsonText)
    environment: Mapped[Any] = mapped_column(JsonText)
    cache: Mapped[Any] = mapped_column(JsonText, nullable=True)
    speculation: Mapped[Any] = mapped_column(JsonText, nullable=True)
    losslessness: Mapped[Any] = mapped_column(JsonText, nullable=True)
    cascade: Mapped[Any] = mapped_column(JsonText, nullable=True)


class RunTimeline(Base):
    """The per-token timeline of a run, packed by `Timeline.pack`."""

    __tablename__ = "run_timelines"

    run_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="CASCADE"), primary_key=True)
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class RunTag(Base):
    """One tag of one run."""

    __tablename__ = "run_tags"

    run_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)

    __table_args__ = (Index(None, "tag"),)


class DeletedRun(Base):
    """A run that somebody deleted: its end, if it comes late, is not to bring it back."""

    __tablename__ = "deleted_runs"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
