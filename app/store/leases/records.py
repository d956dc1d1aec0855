"""Who goes on with something, as it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class StartedFrom(StrEnum):
    """Where a job was started."""

    PAGE = "page"
    COMMAND_LINE = "command line"
    AUTOPILOT = "autopilot"
    """As one of its measurements."""
    ITSELF = "itself"
    """By a server, while nobody asked anything of it."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """That a job goes on with something right now."""

    started_from: StartedFrom
    host: str | None
    """The machine; ``None`` for this one."""
    pid: int
    here: bool = field(kw_only=True)
    """Whether it is a job of this very process."""

    @property
    def where(self) -> str:
        """For the user: "started from the command line"."""
        match self.started_from:
            case StartedFrom.COMMAND_LINE:
                return f"started from the command line{self._on}"
            case StartedFrom.AUTOPILOT:
                return f"as a measurement of an autopilot{'' if self.here else ' of another server'}{self._on}"
            case StartedFrom.PAGE:
                return f"started on its page{'' if self.here else ' of another server'}{self._on}"
            case StartedFrom.ITSELF:
                return f"in the idle time of {'this server' if self.here else 'another server'}{self._on}"

    @property
    def how_to_pause(self) -> str:
        """For the user, as a sentence begins."""
        match self.started_from:
            case StartedFrom.COMMAND_LINE:
                return f"Press Ctrl+C there (process {self.pid}) to pause it"
            case StartedFrom.AUTOPILOT:
                return "Pause the autopilot on its page"
            case StartedFrom.PAGE:
                return "Pause it there"
            case StartedFrom.ITSELF:
                return "It gives way to whoever asks something"

    @property
    def _on(self) -> str:
        return f" of {self.host}" if self.host else ""
