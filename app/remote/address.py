"""The address of an OpenAI-compatible server."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from app.doors.hosts import Host
from engine.errors import InvalidRequestError

_HOST = re.compile(r"[\w.:%-]+")


def base_of(url: str, key_place: str) -> str:
    """Where a server's API stands, such as ``http://127.0.0.1:8000/v1``; no slash at its end.

    Args:
        url: of the server, or of its API: ``http://127.0.0.1:8501`` and ``http://127.0.0.1:8501/v1`` are the same.
        key_place: where a key is to be given instead of a password in the address, in the user's words.

    Raises:
        InvalidRequestError: the address is none, or holds a password.
    """
    import httpx2

    try:
        parts = urlsplit(url.strip())
        is_address = (
            parts.scheme in ("http", "https") and bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
        )
        path = parts.path.rstrip("/") or "/v1"
        base = str(httpx2.URL(f"{parts.scheme}://{parts.netloc}{path}"))
    except (ValueError, httpx2.InvalidURL):
        is_address = False
    if not is_address:
        raise InvalidRequestError("The server's address must be one such as http://127.0.0.1:8501.")
    if "@" in parts.netloc:
        raise InvalidRequestError(f"The address holds a password. Give a key in {key_place} instead.")
    return base


def endpoint_of(url: str, key_place: str) -> str:
    """Where chat completions are asked for. Arguments and errors as for `base_of`."""
    return f"{base_of(url, key_place)}/chat/completions"


def metrics_of(url: str, base: str) -> str | None:
    """Where a server's counters are; ``None`` for an empty ``url``.

    Args:
        url: such as ``http://127.0.0.1:8000/metrics``.
        base: of the server's API.

    Raises:
        InvalidRequestError: it is no address, or one of another host.
    """
    if not url.strip():
        return None
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise InvalidRequestError("The counters' address must be one such as http://127.0.0.1:8000/metrics.")
    if parts.hostname != urlsplit(base).hostname:
        raise InvalidRequestError("The counters' address must be of the server's own host.")
    return url.strip()


def host_of(url: str) -> str:
    """The host of an address, with its port if it has one: where texts are sent."""
    return urlsplit(url.strip()).netloc.rpartition("@")[2]


def same_origin(one: str, other: str) -> bool:
    """Whether two addresses are of the same scheme, host and port: a key given for the one may be sent to the other."""
    return _origin(one) == _origin(other)


def shows_key(url: str) -> bool:
    """Whether a key sent to an address can be read on its way: it leaves this machine, and not by TLS."""
    parts = urlsplit(url.strip())
    return parts.scheme == "http" and not Host((parts.hostname or "").lower()).is_loopback


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url.strip())
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
