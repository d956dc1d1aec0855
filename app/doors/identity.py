"""Who a browser is: a random identity in a cookie of its own, which this server gives it with its first page.

The cookie's value is a credential: it is read here, and only its hash, the person's id, goes any further.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "gearbox_person"
_BYTES = 32
_IDENTITY = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
"""What `secrets.token_urlsafe` makes of so many bytes."""
_LASTS_S = 400 * 24 * 3600
"""As long as browsers keep any cookie; every page begins it anew."""
_CONDITIONS = (b"if-none-match", b"if-modified-since")


def person_of(identity: str | None) -> str | None:
    """The id of the person who has an identity: 32 hex digits from which it cannot be told. ``None`` where it is none
    that this server gives."""
    if identity is None or not _IDENTITY.fullmatch(identity):
        return None
    return hashlib.sha256(b"gearbox person " + identity.encode("ascii")).hexdigest()[:32]


class Identities:
    """ASGI middleware: every page that is answered sets the cookie, to what the browser has or else to a new identity.

    Only pages do, not what they load, nor what a page of another server loads: the browser keeps its cookie back there,
    and would take a new one for it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _asks_for_a_page(scope):
            await self._app(scope, receive, send)
            return
        identity = HTTPConnection(scope).cookies.get(COOKIE)
        if identity is None or not person_of(identity):
            # a browser that has kept the page but not the cookie must get it whole, not "not modified"
            scope = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name not in _CONDITIONS]}
            identity = secrets.token_urlsafe(_BYTES)
        cookie = _set_cookie(identity, secure=scope["scheme"] == "https")

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.append("Set-Cookie", cookie)
                    # nothing in between may hand it to another browser
                    headers["Cache-Control"] = "no-store, private"
            await send(message)

        await self._app(scope, receive, send_on)


def _asks_for_a_page(scope: Scope) -> bool:
    """Whether a request is for what the browser's address bar shows, as far as the browser tells."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    return Headers(scope=scope).get("sec-fetch-dest", "document") == "document"


def _set_cookie(identity: str, *, secure: bool) -> str:
    parts = f"{COOKIE}={identity}; Path=/; Max-Age={_LASTS_S}; HttpOnly; SameSite=Lax"
    return f"{parts}; Secure" if secure else parts
