"""What tests hand to the work of background jobs."""

from __future__ import annotations


def ignore(stage: str, fraction: float, /, *, loading: float | None = None) -> None:
    """A report that nobody reads."""
