"""The tables of the Router lab: prompts, what each tier answered to them, and the routers made from that."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText, JsonText
from app.store.people.schema import PERSON
from app.store.runs.schema import Run

_HASH = 64


class RouterSet(Base):
    """A set of prompts that tiers are recorded on, whole, so that a job can go on after a restart."""

    __tablename__ = "router_sets"

    sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime]
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class RouterAnswer(Base):
    """What one tier, under one set of weights, answered to one prompt."""

    __tablename__ = "router_answers"

    set_sha256: Mapped[str] = mapped_column(CleanText(_HASH), ForeignKey(RouterSet.sha256), primary_key=True)
    tier: Mapped[str] = mapped_column(primary_key=True)
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    environment: Mapped[Any] = mapped_column(JsonText)
    person_id: Mapped[str | None] = mapped_column(CleanText(PERSON))
    """Who had it recorded; ``None`` where nobody knows."""

    __table_args__ = (Index("ix_router_answers_tier_created_at", "tier", "created_at"),)


class RouterRenewal(Base):
    """That a tier is recorded again: its older answers stay until they are replaced, and are asked once more."""

    __tablename__ = "router_renewals"

    set_sha256: Mapped[str] = mapped_column(CleanText(_HASH), ForeignKey(RouterSet.sha256), primary_key=True)
    tier: Mapped[str] = mapped_column(primary_key=True)
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    since: Mapped[datetime]


class RouterMark(Base):
    """What somebody says of one answer, whatever its checker says. It holds for the text that was read."""

    __tablename__ = "router_marks"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    set_id: Mapped[str] = mapped_column(index=True)
    """Of a recorded set its hash; of one that comes with Gearbox its name."""
    prompt_id: Mapped[str]
    tier: Mapped[str]
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    answer_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    person_id: Mapped[str | None] = mapped_column(CleanText(PERSON))
    created_at: Mapped[datetime]
    right: Mapped[bool]


class RouterVerdict(Base):
    """What a judge says of one recorded answer. It holds for the text that it read."""

    __tablename__ = "router_verdicts"

    set_sha256: Mapped[str] = mapped_column(CleanText(_HASH), ForeignKey(RouterSet.sha256), primary_key=True)
    prompt_id: Mapped[str] = mapped_column(primary_key=True)
    tier: Mapped[str] = mapped_column(primary_key=True)
    answer_sha256: Mapped[str] = mapped_column(CleanText(_HASH), primary_key=True)
    judge: Mapped[str] = mapped_column(primary_key=True)
    """`Tier.key` of the model that judged."""
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    """The judge's."""
    created_at: Mapped[datetime]
    right: Mapped[bool | None]
    """Null where it gave no verdict that can be read."""
    confidence: Mapped[float | None]


class RouterJudgement(Base):
    """What a judge says of the answer of a run."""

    __tablename__ = "router_judgements"

    run_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="CASCADE"), primary_key=True)
    judge: Mapped[str] = mapped_column(primary_key=True)
    weights_sha256: Mapped[str] = mapped_column(CleanText(_HASH))
    created_at: Mapped[datetime]
    right: Mapped[bool | None]
    confidence: Mapped[float | None]


class RouterProfileRow(Base):
    """One version of a router profile. Of a ladder's profiles, the one activated last is the active one."""

    __tablename__ = "router_profiles"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    name: Mapped[str]
    version: Mapped[int]
    ladder: Mapped[str]
    created_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    profile: Mapped[Any] = mapped_column(JsonText)
    """`RouterProfile.to_dict`."""
    evidence: Mapped[Any | None] = mapped_column(JsonText)
    """`Evidence.to_dict`; nothing for a profile that came without."""
    data_set: Mapped[str | None]
    """Id of the data set it was made from, whatever became of its answers since; nothing for one that was imported."""

    __table_args__ = (
        Index("uq_router_profiles_name_version", "name", "version", unique=True),
        Index("ix_router_profiles_ladder", "ladder", "activated_at"),
    )
