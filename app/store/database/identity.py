"""Ids and moments of new rows."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime


def new_id() -> str:
    """32 hex digits that sort by the time they were made."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
