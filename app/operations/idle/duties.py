"""The thread that sees when a server is idle, and then does what is due, one thing after the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from app.background.jobs import Jobs, Work
from app.operations.idle.giving_way import KnowsBusy, is_idle
from engine.errors import GearboxError

_log = logging.getLogger(__name__)

QUIET_S = 20.0
"""So long nobody must have asked anything before something is begun."""
LOOK_EVERY_S = 2.0
LEFT_ALONE_S = 3600.0
"""What somebody has ended, or what failed, is not begun again for so long."""


@dataclass(frozen=True, slots=True)
class Due:
    """Work that can be done now."""

    work: Work
    title: str


class Duty(Protocol):
    """Something that is to be done now and then."""

    @property
    def key(self) -> str:
        """The background job's."""
        ...

    @property
    def page(self) -> str:
        """The address at which it is followed."""
        ...

    def due(self) -> Due | None:
        """What is to be done now; ``None`` where nothing is. Called in idle time only.

        Raises:
            GearboxError: that cannot be told.
        """
        ...


class IdleWork:
    """Does the duties of a server, in background jobs that people can see and end. Safe to share between threads."""

    def __init__(
        self,
        jobs: Jobs,
        engine: Callable[[], KnowsBusy],
        duties: Callable[[], Sequence[Duty]],
        *,
        quiet_s: float = QUIET_S,
        look_every_s: float = LOOK_EVERY_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Begin to look.

        Args:
            jobs: what runs them; while one of somebody's runs, nothing is begun.
            engine: gives the server's engine.
            duties: gives what is to be done, the most urgent first.
            quiet_s: see :data:`QUIET_S`.
            look_every_s: seconds between two looks.
            clock: seconds.
        """
        self._jobs, self._engine, self._duties = jobs, engine, duties
        self._quiet_s, self._look_every_s, self._clock = quiet_s, look_every_s, clock
        self._quiet_since: float | None = None
        self._told: dict[str, str] = {}
        """By duty, the error that was logged last."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="idle work", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Begin nothing any more; what runs is the jobs' to end."""
        self._closing.set()
        self._thread.join()

    def look(self) -> bool:
        """Begin what is due if the server has been idle for long enough; says whether something was begun."""
        now = self._clock()
        if not is_idle(self._engine()) or any(job.state.running for job in self._jobs.told()):
            self._quiet_since = None
            return False
        if self._quiet_since is None:
            self._quiet_since = now
        if now - self._quiet_since < self._quiet_s:
            return False
        for duty in self._duties():
            last = self._jobs.state(duty.key)
            if last and last.status in ("cancelled", "failed") and last.ended and now - last.ended < LEFT_ALONE_S:
                continue
            found = self._due(duty)
            if found is not None:
                page, title = duty.page, found.title
                if self._jobs.submit(duty.key, found.work, title=title, page=page, by_itself=True):
                    return True
        return False

    def _due(self, duty: Duty) -> Due | None:
        """What a duty has to do; ``None`` too where it cannot tell, which is logged: the others are done still."""
        try:
            found = duty.due()
        except Exception as error:  # noqa: BLE001 (a mistake in one duty must not end the thread that does them all)
            self._tell(duty.key, error)
            return None
        self._told.pop(duty.key, None)
        return found

    def _watch(self) -> None:
        while not self._closing.wait(self._look_every_s):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 (nobody is above this frame: the thread would end, unsaid)
                self._tell("", error)
            else:
                self._told.pop("", None)

    def _tell(self, key: str, error: Exception) -> None:
        """Log what keeps work from being done, once until it is another error: it is looked at again soon."""
        if self._told.get(key) == repr(error):
            return
        self._told[key] = repr(error)
        what = f"of {key} " if key else ""
        if isinstance(error, GearboxError):  # the database is locked, say
            _log.warning("What is to be done %sin idle time cannot be told: %s", what, error)
        else:
            _log.error("Looking what is to be done %sin idle time failed", what, exc_info=error)
