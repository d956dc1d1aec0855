"""What is kept of remote models: frozen records, never database rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.remote.prices import ListPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRemote:
    """A remote model as somebody describes it."""

    name: str
    """As `app.remote.names.checked_name` gives it: with the @."""
    url: str
    """Of the API, as `app.remote.address.base_of` gives it."""
    served_name: str
    """What the server calls the model."""
    metrics_url: str | None = None
    """Where the server's own counters are, as Prometheus text; ``None`` to read none."""
    price: ListPrice | None = None
    """``None`` where nobody said what it costs."""
    sealed_key: str | None = field(default=None, repr=False)
    has_key: bool = False
    """Whether there is a key at all: without a seal and a variable it is in the memory of one server alone."""
    key_variable: str | None = None
    """The environment variable that holds the key of every server that runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRemote(NewRemote):
    """One that is kept."""

    id: str
    abilities: Mapping[str, Any] | None = None
    """What the last connection test found; ``None`` until there was one."""
    tested_at: datetime | None = None
    created_at: datetime
    changed_at: datetime
