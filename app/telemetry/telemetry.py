"""Takes runs as they end, and hands them to the SDK in a thread of its own: the engine never waits for a collector."""

from __future__ import annotations

import logging
import queue
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.store import EndedRun
from app.telemetry.options import TelemetryOptions

if TYPE_CHECKING:
    from app.telemetry.sending import Sender

_log = logging.getLogger(__name__)
_MOST_WAITING = 2_048
"""Runs; more are dropped and counted."""


class Telemetry:
    """Safe to use from any thread. Without a collector it does nothing."""

    def __init__(self, options: TelemetryOptions) -> None:
        self.options = options
        """What is sent where."""
        self.dropped = 0
        """Runs that were not sent because too many waited."""
        self._sender: Sender | None = None
        self._thread: threading.Thread | None = None
        if options.refusal:
            _log.warning(options.refusal)
        if not (options.traces or options.metrics):
            return
        from app.telemetry.sending import Sender

        self._sender = Sender(options)
        self._waiting: queue.Queue[tuple[EndedRun, datetime] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._send, args=(self._sender,), name="telemetry", daemon=True)
        self._thread.start()

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why something is not sent, for the user."""
        own = () if self.options.refusal is None else (self.options.refusal,)
        return own if self._sender is None else (*own, *self._sender.troubles)

    def observe(self, run: EndedRun) -> None:
        """Take a run that has just ended."""
        if self._thread is None:
            return
        try:
            self._waiting.put_nowait((run, datetime.now(UTC)))
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Send all that was taken. Waits for the collector."""
        if self._sender is not None:
            self._waiting.join()
            self._sender.flush()

    def close(self) -> None:
        """Send what waits, as far as the collector takes it soon."""
        if self._thread is not None and self._sender is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
            self._sender.close()

    def _send(self, sender: Sender) -> None:
        while (taken := self._waiting.get()) is not None:
            try:
                sender.send(*taken)
            finally:
                self._waiting.task_done()
        self._waiting.task_done()
