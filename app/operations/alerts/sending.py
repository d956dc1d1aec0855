"""Sending a message through Apprise, which knows webhooks, e-mail and some hundred services by their addresses.

Addresses are secrets: Apprise's own log stays within, and an error that is told of has none of an address in it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.addresses import all_parts, without
from engine.errors import InvalidRequestError

_log = logging.getLogger(__name__)
_APPRISE = logging.getLogger("apprise")
_STATUS = re.compile(r"error=(\d{3})")
_MOST_CHARACTERS = 200
_HERE = frozenset({"dbus", "gio", "glib", "gnome", "kde", "macosx", "qt", "syslog", "windows", "blink1"})
"""Schemes of the machine that the server runs on: nobody reads them there."""


def service_of(url: str) -> str:
    """What may be shown of an address: the service, such as "JSON (jsons://…)".

    Raises:
        InvalidRequestError: it is none that can be sent to.
    """
    scheme = url.strip().partition("://")[0].lower()
    if scheme in ("http", "https"):
        raise InvalidRequestError(
            "For a webhook write json:// in place of http://, or jsons:// in place of https://. Services such as Slack "
            "take their own addresses: see Apprise's list."
        )
    if scheme in _HERE:
        raise InvalidRequestError("That would be shown on the machine of the server, where nobody looks.")
    plugin = _plugin(url)
    if plugin is None:
        raise InvalidRequestError(
            "This is no address that Apprise knows. A webhook: jsons://example.com/hook. E-mail: "
            "mailtos://user:password@example.com?to=team@example.com."
        )
    return f"{plugin.service_name} ({scheme}://…)"


def post(url: str, title: str, body: str) -> str | None:
    """Send a message, and wait for what the service says: seconds, or as long as it drips. ``None`` if it took it, or
    else what went wrong, for the user."""
    plugin = _plugin(url)
    if plugin is None:
        return "Apprise no longer knows this address."
    with _said() as said:
        try:
            taken = plugin.notify(title=title, body=body, body_format="text")
        except Exception as error:  # noqa: BLE001 (each of some hundred plugins raises what it likes, addresses in it)
            kind = type(error).__name__
            _log.warning("A channel's message was not sent: Apprise raised %s.", kind)
            return f"Apprise could not send it ({kind}). Look for characters in the address that the service rejects."
    return None if taken else _in_words(said, url)


def _plugin(url: str) -> Any:
    import apprise

    _APPRISE.propagate = False
    if not _APPRISE.handlers:
        _APPRISE.addHandler(logging.NullHandler())
    return apprise.Apprise.instantiate(url.strip(), asset=apprise.AppriseAsset(app_id="Gearbox", app_desc="Gearbox"))


class _Quiet(logging.Filter):
    """Keeps what is logged on the way to a channel, addresses in it, out of the server's log."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread not in self.threads


_QUIET = _Quiet()
logging.getLogger("urllib3.connectionpool").addFilter(_QUIET)


class _Said(logging.Handler):
    """What Apprise logs in one thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


@contextmanager
def _said() -> Iterator[list[str]]:
    handler, thread = _Said(), threading.get_ident()
    _APPRISE.addHandler(handler)
    _QUIET.threads.add(thread)
    try:
        yield handler.lines
    finally:
        _QUIET.threads.discard(thread)
        _APPRISE.removeHandler(handler)


def _in_words(said: list[str], url: str) -> str:
    text = " ".join(said)
    if status := _STATUS.search(text):
        return f"The service answered {status[1]}."
    if "onnection error" in text or "imed out" in text:
        return "No connection, no answer in time, or the login was refused."
    return without_secrets(text, url) or "The service did not take it."


def without_secrets(text: str, url: str) -> str:
    """A text in which no part of an address stands, and which is not long."""
    return without(text, all_parts(url))[:_MOST_CHARACTERS]
