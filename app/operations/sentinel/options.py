"""When golden prompts are replayed, and from where on a drift is one: chosen once for all servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from app.store import OptionStore
from engine.errors import InvalidRequestError

SUBJECT = "sentinel"
MOST_HOURS = 24 * 366


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelOptions:
    """What was chosen."""

    every_hours: float | None = None
    """So long after the last replay they are replayed in idle time; ``None`` for never."""
    on_change: bool = True
    """Whether a change of weights, kernels or version has them replayed in idle time."""
    kld: bool = True
    """Whether KLD from 16 bits is measured, which loads the 16-bit model beside the one that answers."""
    speed_limit: float = 0.10
    """A drift of speed is one if all of its interval is beyond this share."""
    kld_limit: float = 0.01
    """A KLD is further from 16 bits if it is by more than so many nats a token."""

    def __post_init__(self) -> None:
        if self.every_hours is not None and not 0 < self.every_hours <= MOST_HOURS:
            raise InvalidRequestError("The hours between two replays must be above 0, and at most a year.")
        if not 0 < self.speed_limit <= 10:
            raise InvalidRequestError("A drift of speed must be above 0 %, and at most 1,000 %.")
        if not 0 < self.kld_limit <= 10:
            raise InvalidRequestError("A limit of KLD must be above 0, and at most 10 nats.")

    @classmethod
    def kept(cls, options: OptionStore) -> Self:
        """What was chosen, or the defaults."""
        tree: Mapping[str, Any] = options.get(SUBJECT) or {}
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in tree.items() if name in known})

    def keep(self, options: OptionStore) -> None:
        """Choose this."""
        options.set(SUBJECT, asdict(self))
