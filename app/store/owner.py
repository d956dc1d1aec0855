"""Who is running a run, and whether that process still lives."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

import psutil

_CLOCK_SLACK_S = 5.0
"""The start of a process is reckoned from the boot time, which moves a little when the clock is set."""
_SILENCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from an earlier one of the same number by when it started."""

    host: str
    pid: int
    started: float
    """Seconds since 1970."""

    @classmethod
    def this_process(cls) -> Owner:
        """The process that asks."""
        process = psutil.Process()
        return cls(host=socket.gethostname(), pid=process.pid, started=process.create_time())

    def is_gone(self, *, seen_at: datetime, now: datetime) -> bool:
        """Whether the process has ended. On another host, whether it has been silent for long."""
        if self.host != socket.gethostname():
            return now - seen_at > _SILENCE
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            return bool(abs(process.create_time() - self.started) > _CLOCK_SLACK_S)
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False
