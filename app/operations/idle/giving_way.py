"""Work in idle time gives way to whoever comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.errors import GearboxError


class GaveWayError(GearboxError):
    """Work in idle time has ended where it stood, because somebody asked something; it is gone on with later."""

    def __init__(self) -> None:
        super().__init__("Somebody asked something: the work gave way, and goes on in the next idle time.")


class BusyStatus(Protocol):
    """What the engine does now; see `engine.EngineStatus`."""

    @property
    def running(self) -> int: ...
    @property
    def queued(self) -> int: ...


class KnowsBusy(Protocol):
    """What is needed of an engine; see `engine.Engine`."""

    def status(self) -> BusyStatus: ...


def is_idle(engine: KnowsBusy) -> bool:
    """Whether nothing runs or waits."""
    status = engine.status()
    return not status.running and not status.queued


@dataclass(frozen=True, slots=True)
class GivingWay:
    """Ends work of one request at a time as soon as the engine has a second one."""

    engine: KnowsBusy

    def __call__(self, *_progress: object) -> None:
        """Look whether anybody else is there.

        Raises:
            GaveWayError: somebody is.
        """
        status = self.engine.status()
        if status.queued + status.running > 1:
            raise GaveWayError


Watch = Callable[..., object]
"""Called every now and then; what it raises ends the work."""


def nobody_to_give_way_to(*_progress: object) -> None:
    """For work that somebody asked for: it waits in the engine's line like everybody's."""
