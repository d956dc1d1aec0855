"""What the saved configurations' side of the store hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedConfiguration:
    """A configuration of somebody's own."""

    id: str
    name: str
    """No two of one person have the same."""
    person: str | None
    """Whose it is; ``None`` for the desk's, which everybody sees."""
    config: Mapping[str, Any]
    """`RunConfig.to_dict`; `RunConfig.from_dict` turns it back."""
    warm: bool
    """Whether a run with it reuses what earlier ones kept."""
    saved_at: datetime
