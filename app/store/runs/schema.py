"""The tables of runs. Portable: nothing here is SQLite's alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.database.columns import Base, CleanText, JsonText

LETS_GO = {"lets_go": True}
"""Of a reference to a run: it does not keep the run from being pruned, since it is a part of it or does without it."""


class Run(Base):
    """What lists, filters and statistics read; kept narrow, so that a scan of all runs stays quick."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    created_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(CleanText(16))
    group_id: Mapped[str | None]
    person_id: Mapped[str | None] = mapped_column(CleanText(32))
    """Who asked; null for the desk."""
    session_id: Mapped[str] = mapped_column(default="")
    """The browser session that asked, of runs stored before persons were known; empty since."""
    source: Mapped[str | None] = mapped_column(CleanText(16))
    """Where it was asked for; null where nobody knows."""
    user: Mapped[str | None]
    """Of the API: for whom, in the caller's words, or else the name of their key; null elsewhere."""

    key_name: Mapped[str | None]
    """Of the API: what the key of the caller is called; null without one."""

    model: Mapped[str]
    backend: Mapped[str]
    precision: Mapped[str]
    config_hash: Mapped[str] = mapped_column(CleanText(16))
    router_profile: Mapped[str | None] = mapped_column(CleanText(16))
    """`CascadeConfig.profile_key` of a cascade that goes by a profile."""
    seed: Mapped[int]

    finish_reason: Mapped[str | None]
    error_kind: Mapped[str | None]
    """The class name of the error of a failed run, as its content has it: it is counted."""
    tier: Mapped[str | None]
    """Who answered, of a cascade; null elsewhere."""
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
    mean_batch_size: Mapped[float | None]
    """Sequences in a pass of its own, this one included; null where no pass could be shared."""
    disturbed: Mapped[bool | None]
    """Whether others took so much of the processor that its speed is not to be relied on; null where nobody looked."""

    large_alone_s: Mapped[float | None]
    """Of a cascade: what its largest model alone would have taken; null where nobody can tell."""
    large_alone_derived: Mapped[bool | None]
    """Whether that is derived, because a smaller model answered; null where there is none."""
    cascade_saved_s: Mapped[float | None]
    """The difference to what the cascade took."""
    speculation_saved_s: Mapped[float | None]
    """Derived: against one plain step for each token; null where that is not known."""

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
        Index(None, "router_profile", "created_at"),
        Index(None, "person_id", "created_at"),
        Index(None, "source", "created_at"),
        Index("ix_runs_noted", "id", sqlite_where=text("note <> ''"), postgresql_where=text("note <> ''")),
        Index(None, "e2e_s"),
    )


class RunContent(Base):
    """The long texts of a run."""

    __tablename__ = "run_contents"

    run_id: Mapped[str] = mapped_column(
        CleanText(32), ForeignKey(Run.id, ondelete="CASCADE", info=LETS_GO), primary_key=True
    )
    prompt: Mapped[str]
    text: Mapped[str] = mapped_column(default="")
    error: Mapped[str | None]
    error_kind: Mapped[str | None]
    messages: Mapped[Any] = mapped_column(JsonText)
    caller_metadata: Mapped[Any] = mapped_column(JsonText, nullable=True)
    """Of the API: what the caller noted on it, texts by name. Of an experiment: which cell it is. Null elsewhere."""
    config: Mapped[Any] = mapped_column(JsonText)
    environment: Mapped[Any] = mapped_column(JsonText)
    cache: Mapped[Any] = mapped_column(JsonText, nullable=True)
    speculation: Mapped[Any] = mapped_column(JsonText, nullable=True)
    losslessness: Mapped[Any] = mapped_column(JsonText, nullable=True)
    cascade: Mapped[Any] = mapped_column(JsonText, nullable=True)
    disturbance: Mapped[Any] = mapped_column(JsonText, nullable=True)


class RunTimeline(Base):
    """The per-token timeline of a run, packed by `Timeline.pack`."""

    __tablename__ = "run_timelines"

    run_id: Mapped[str] = mapped_column(
        CleanText(32), ForeignKey(Run.id, ondelete="CASCADE", info=LETS_GO), primary_key=True
    )
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
