"""What a server says of itself: the models that it lists, and JSON at other paths."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from engine.backends.remote.network import open_client
from engine.backends.remote.words import connection_words, error_message, one_line, status_words
from engine.errors import RemoteError
from engine.untrusted import parse_json

if TYPE_CHECKING:
    import httpx2

MOST_SERVED = 200
"""Characters of a server's name for a model. Names that are longer, or cannot be shown, are passed over."""
WITHIN_S = 10.0
"""For a connection and the whole answer."""
_MOST_READ = 2**20
"""Bytes of an answer."""
_MOST_MODELS = 2_000


@dataclass(frozen=True, slots=True)
class Told:
    """An answer to a question."""

    status: int
    headers: httpx2.Headers
    text: str
    """As far as it was read."""
    tree: Any
    """It as JSON; ``None`` where it is none."""
    is_whole: bool
    """Whether all of it was read."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A server's models."""

    entries: tuple[dict[str, Any], ...]
    """In its order, each name once; ``id`` is the name."""
    headers: httpx2.Headers

    @property
    def models(self) -> tuple[str, ...]:
        """As the server calls them."""
        return tuple(entry["id"] for entry in self.entries)


def list_served(url: str, key: str | None) -> tuple[str, ...]:
    """The models that a server lists, in its order, each once. Blocks, at most for :data:`WITHIN_S`.

    Args:
        url: root of its API: ``http://host:8000/v1``.
        key: sent as a bearer token, to this address alone; ``None`` sends none.

    Raises:
        RemoteError: it cannot be reached, or gives no list; the message does not tell the key.
    """

    async def ask() -> tuple[str, ...]:
        async with open_client() as http:
            return (await listing(http, url, key)).models

    return asyncio.run(ask())


async def listing(http: httpx2.AsyncClient, url: str, key: str | None) -> Listing:
    """The same in an event loop, with all that the server says of each model. Raises as :func:`list_served`."""
    import httpx2

    server = urlsplit(url).netloc.rpartition("@")[2]
    try:
        told = await get(http, f"{url.rstrip('/')}/models", key)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise RemoteError(f"{server} cannot be reached: {one_line(connection_words(error), key)}.") from error
    if not told.is_whole:
        raise RemoteError(f"{server} sends no end of its list of models.")
    if told.status != httpx2.codes.OK:
        said = one_line(error_message(told.tree) if told.tree is not None else told.text, key)
        words = status_words(told.status, said, told.headers, has_key=key is not None)
        raise RemoteError(f"{server} lists no models: it {words}.")
    match told.tree:
        case {"data": list(entries)}:
            named: dict[str, dict[str, Any]] = {}
            for entry in filter(_is_model, entries):
                named.setdefault(entry["id"], entry)
            return Listing(tuple(named.values())[:_MOST_MODELS], told.headers)
    raise RemoteError(f"{server} lists no models: is this the root of an API, such as …/v1?")


async def get(http: httpx2.AsyncClient, url: str, key: str | None) -> Told:
    """What a server says at an address. Raises what the connection does."""
    import httpx2

    headers = {"accept": "application/json", "accept-encoding": "identity"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    read = b""
    try:
        async with (
            asyncio.timeout(WITHIN_S),
            http.stream("GET", url, headers=headers, timeout=httpx2.Timeout(WITHIN_S)) as response,
        ):
            async for part in response.aiter_bytes():
                read += part
                if len(read) > _MOST_READ:
                    break
    except TimeoutError:
        raise httpx2.ReadTimeout(f"no whole answer within {WITHIN_S:g} s") from None
    try:
        tree = parse_json(read)
    except ValueError:
        tree = None
    text = read[:_MOST_READ].decode("utf-8", "replace")
    return Told(response.status_code, response.headers, text, tree, len(read) <= _MOST_READ)


def _is_model(entry: Any) -> bool:
    name = entry.get("id") if isinstance(entry, dict) else None
    return isinstance(name, str) and name.isprintable() and bool(name.strip()) and len(name) <= MOST_SERVED
