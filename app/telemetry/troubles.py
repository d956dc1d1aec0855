"""What a collector does not take is said once, and that it takes again; the SDK says it each time."""

from __future__ import annotations

import logging
import threading

from app.addresses import login_and_query, without, without_login

_log = logging.getLogger(__name__)


class Troubles(logging.Filter):
    """Keeps what the SDK's exporter of one signal complains of, and lets nothing of it through."""

    def __init__(self, signal: str, endpoint: str, exporter: str) -> None:
        """
        Args:
            signal: what is sent, such as traces.
            endpoint: to where; its login and its query are told nobody.
            exporter: the module of the SDK's exporter, which its logger is named after.
        """
        super().__init__()
        self._signal, self._endpoint = signal, without_login(endpoint)
        self._secrets = login_and_query(endpoint)
        self._lock = threading.Lock()
        self._last = ""
        self.words: str | None = None
        """Why the collector takes nothing now, for the user; ``None`` while it does."""
        self._logger = logging.getLogger(exporter)
        self._logger.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep a complaint."""
        if record.levelno >= logging.WARNING:
            self._last = without(record.getMessage(), self._secrets)
        return False

    def came_through(self, success: bool) -> None:
        """Note whether something was taken."""
        with self._lock:
            if success == (self.words is None):
                return
            if success:
                self.words = None
                _log.info("The collector %s takes %s again.", self._endpoint, self._signal)
                return
            why = f": {self._last[:300]}" if self._last else ""
            self.words = f"The collector {self._endpoint} takes no {self._signal}{why}"
            _log.warning("%s Runs go on; what it does not take is dropped.", self.words)

    def close(self) -> None:
        """Let the SDK speak again."""
        self._logger.removeFilter(self)
