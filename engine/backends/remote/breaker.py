"""A circuit breaker: a server that fails again and again is left alone for a while, so that nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, time

from engine.types import BreakerState, RemoteStatus

FAILURES_TO_OPEN = 5
OPEN_S = 30.0
"""An open breaker lets one request through after so long."""
_MOST_NAMES = 16


class Breaker:
    """Of one server. Safe to use from any thread."""

    def __init__(self, server: str, clock: Callable[[], float] = monotonic) -> None:
        """
        Args:
            server: host and port, for the reader.
            clock: seconds; another one in tests.
        """
        self.server = server
        self._clock = clock
        self._lock = threading.Lock()
        self._opened_at: float | None = None
        self._is_trying = False
        """Whether the one request that a half-open breaker lets through is under way."""
        self._in_row = self._failures = self._requests = self._running = 0
        self._last_error: str | None = None
        self._last_error_at: float | None = None
        self._names: dict[str, None] = {}

    @contextmanager
    def admitted(self, name: str) -> Iterator[Admission]:
        """A request comes; it is under way while the block runs.

        Args:
            name: of the model that is asked.

        Raises:
            RestingError: it is not let through.
        """
        with self._lock:
            self._names[name] = None
            if len(self._names) > _MOST_NAMES:
                del self._names[next(iter(self._names))]
            admission = Admission(self, is_trial=self._opened_at is not None)
            if admission.is_trial:
                left = self._left_s()
                if left or self._is_trying:
                    raise RestingError(self._in_row, self._last_error or "", left or 0.0)
                self._is_trying = True
            self._requests += 1
            self._running += 1
        try:
            yield admission
        finally:
            with self._lock:
                self._running -= 1
                if admission.is_trial:
                    self._is_trying = False

    def observe_reached(self) -> None:
        """The server has begun to answer: it works."""
        with self._lock:
            self._in_row, self._opened_at = 0, None

    def observe_failed(self, error: str, *, is_trial: bool) -> None:
        """The server was not reached, or met an error of its own."""
        with self._lock:
            self._failures += 1
            self._in_row += 1
            self._last_error, self._last_error_at = error, time()
            if is_trial or self._in_row >= FAILURES_TO_OPEN:
                self._opened_at = self._clock()

    def status(self) -> RemoteStatus:
        """How the server has been doing."""
        with self._lock:
            left = self._left_s()
            state = BreakerState.CLOSED if left is None else BreakerState.OPEN if left else BreakerState.HALF_OPEN
            return RemoteStatus(
                server=self.server,
                state=state,
                running=self._running,
                requests=self._requests,
                failures=self._failures,
                failures_in_row=self._in_row,
                last_error=self._last_error,
                last_error_at=self._last_error_at,
                retry_in_s=left,
                models=tuple(self._names),
            )

    def _left_s(self) -> float | None:
        """Until a request is let through; ``None`` while all are."""
        return None if self._opened_at is None else max(0.0, self._opened_at + OPEN_S - self._clock())


class RestingError(Exception):
    """A server is not asked for now."""

    def __init__(self, failures: int, last_error: str, left_s: float) -> None:
        """
        Args:
            failures: that it met, one after the other.
            last_error: the latest of them.
            left_s: until it is asked again.
        """
        super().__init__(last_error)
        self.failures = failures
        self.last_error = last_error
        self.left_s = left_s


class Admission:
    """A request that was let through."""

    def __init__(self, breaker: Breaker, *, is_trial: bool) -> None:
        self.is_trial = is_trial
        """Whether all others wait for what comes of it."""
        self._breaker = breaker

    def reached(self) -> None:
        """See :meth:`Breaker.observe_reached`."""
        self._breaker.observe_reached()

    def failed(self, error: str) -> None:
        """See :meth:`Breaker.observe_failed`."""
        self._breaker.observe_failed(error, is_trial=self.is_trial)
