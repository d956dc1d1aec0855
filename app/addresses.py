"""Addresses that have secrets in them: what may be shown of one, and texts without them. None of it ever raises."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

_SHORTEST_SECRET = 3


def without_login(url: str) -> str:
    """An address without user name, password and query."""
    scheme, place, _ = _split(url)
    return f"{scheme}{place.rpartition('@')[2]}"


def login_and_query(url: str) -> list[str]:
    """What :func:`without_login` leaves out, whole and in its pieces."""
    _, place, query = _split(url)
    login = place.rpartition("@")[0]
    return [login, *login.split(":", 1), *_values(query)]


def all_parts(url: str) -> list[str]:
    """Every piece of an address but its scheme and the names of its query's values."""
    _, place, query = _split(url)
    login = place.rpartition("@")[0]
    return [login, login.partition(":")[2], *re.split(r"[/:@\[\]]", place), *_values(query)]


def without(text: str, secrets: Iterable[str]) -> str:
    """A text in which no secret of three characters or more stands, as it is or with its percent signs decoded."""
    known = {each for secret in secrets for each in (secret, unquote(secret)) if len(each) >= _SHORTEST_SECRET}
    for secret in sorted(known, key=len, reverse=True):
        text = re.sub(re.escape(secret), "…", text, flags=re.IGNORECASE)
    return text


def _split(url: str) -> tuple[str, str, str]:
    """Scheme with its slashes, place with login, and query or fragment."""
    url = url.strip()
    scheme = url[: url.index("://") + 3] if "://" in url else ""
    place, *query = re.split(r"[?#]", url.removeprefix(scheme), maxsplit=1)
    return scheme, place, "".join(query)


def _values(query: str) -> list[str]:
    values = [pair.partition("=")[2] for pair in query.split("&")]
    return [query, *values, *(value.replace("+", " ") for value in values)]
