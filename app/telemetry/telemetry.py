"""Takes runs as they end, and hands them to the SDK in a thread of its own: the engine never waits for a collector."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.store import EndedRun
from app.telemetry.options import TelemetryOptions

if TYPE_CHECKING:
    from app.telemetry.sending import Sender

_log = logging.getLogger(__name__)
_MOST_WAITING = 2_048
"""Runs; more are dropped and counted."""
_HAND_OVER_S = 5.0
"""How long the end of the server, or a flush, waits for the SDK to take the runs that wait."""


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
        """Send all that was taken. Waits for the collector, and a few seconds for what is taken to be handed over."""
        if self._sender is not None:
            waiting = self._waiting
            with waiting.all_tasks_done:
                waiting.all_tasks_done.wait_for(lambda: not waiting.unfinished_tasks, _HAND_OVER_S)
            self._sender.flush()

    def close(self) -> None:
        """Send what waits, as far as the collector takes it soon."""
        thread, self._thread = self._thread, None
        if thread is not None and self._sender is not None:
            self._say_last()
            thread.join(_HAND_OVER_S)
            self._sender.close()

    def _say_last(self) -> None:
        """Let the thread end after what waits; where that leaves no room, without the oldest."""
        while True:
            try:
                self._waiting.put_nowait(None)
                return
            except queue.Full:
                with suppress(queue.Empty):
                    self._waiting.get_nowait()
                    self._waiting.task_done()
                    self.dropped += 1

    def _send(self, sender: Sender) -> None:
        while (taken := self._waiting.get()) is not None:
            try:
                sender.send(*taken)
            except Exception as error:  # noqa: BLE001 (nobody is above this frame, and its message may hold a prompt)
                _log.warning("A run was not sent to the collector: %s.", type(error).__name__)
            finally:
                self._waiting.task_done()
        self._waiting.task_done()
