"""How far back a search looks that no index helps: for a text that is shorter than the pieces that are indexed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.runs.queries import listed
from app.store.runs.records import RunFilter
from app.store.runs.schema import Run
from app.store.runs.search.needles import SHORTEST
from engine.untrusted import valid_text

LOOKED_BACK = 50_000
"""Runs whose texts are read within half a second."""
_MICROSECOND = timedelta(microseconds=1)


def looked_back_to(session: Session, filter: RunFilter, most: int) -> datetime | None:
    """The moment from which on about the newest so many runs were started that a filter may let through; ``None`` where
    all are few enough, or the index helps.

    Of what a filter asks for, only what an index tells is asked here.
    """
    if not 0 < len(valid_text(filter.text.strip())) < SHORTEST:
        return None
    indexed = replace(
        filter, text="", tags=(), sources=(), backends=(), precisions=(), ratings=(), key_names=(), finish_reasons=(),
        error_kinds=(), tiers=(), disturbed=None,
    )  # fmt: skip
    newest = select(Run.created_at).where(*listed(indexed)).order_by(Run.created_at.desc())
    first_left_out = session.scalar(newest.offset(most).limit(1))
    return None if first_left_out is None else first_left_out + _MICROSECOND
