"""Who may come in, and what a page may do: the outermost part of the server.

On its own machine the app asks nobody who they are, so it must not be reachable through a stranger's page in the user's
own browser. A name that resolves to this machine would make such a page one of ours: requests must call the server by a
name it knows, and a page that sends one must have come from here.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from pathlib import Path

import streamlit
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.doors.access import DENIED, Refusal
from app.doors.entrances import Entrance
from app.doors.hosts import AllowedHosts, Host

_LOGGER = logging.getLogger(__name__)
_MOST_LOGGED = 100

_WIDEN = (
    "It answers only to the names of the machine it runs on (localhost, 127.0.0.1, [::1]) and to those in "
    "GEARBOX_ALLOWED_HOSTS."
)
_HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    # a link in an answer is not looked up before it is followed
    "X-DNS-Prefetch-Control": "off",
}


class RefusedError(Exception):
    """A request that may not come in; the message is for whoever reads the answer."""


class Doors:
    """ASGI middleware: refuses what calls the server by a strange name or comes from a strange page, with 403.

    Args:
        app: what is behind.
        allowed: the names.
        api_refusal: makes the answer to who asks for the API; a sentence if there is none.
    """

    def __init__(self, app: ASGIApp, allowed: AllowedHosts, api_refusal: Refusal | None = None) -> None:
        self._app = app
        self._allowed = allowed
        self._api_refusal = api_refusal
        self._logged: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            host, scope = self._admitted(scope)
        except RefusedError as refused:
            self._log(str(refused))
            await self._refusal(str(refused), scope)(scope, receive, _with_headers(send, None))
            return
        await self._app(scope, receive, _with_headers(send, host))

    def _admitted(self, scope: Scope) -> tuple[Host, Scope]:
        """The name by which the server is called, and the request as what is behind the doors shall see it.

        Raises:
            RefusedError: the request may not come in.
        """
        headers = Headers(scope=scope)
        if not scope["path"].startswith("/"):
            raise RefusedError("Gearbox is no proxy: ask it for a path.")
        names = headers.getlist("host")
        host = Host.parse(names[0]) if len(names) == 1 else None
        if host is None:
            raise RefusedError(f"Gearbox cannot tell by which name this request calls it. {_WIDEN}")
        if not self._allowed.admit(host):
            raise RefusedError(
                f"Gearbox does not answer to the name “{host.name}”. {_WIDEN} If this is your own server, start it "
                f"again with GEARBOX_ALLOWED_HOSTS={host.name} in its environment."
            )
        origins = headers.getlist("origin")
        if not origins:  # no browser: a browser names the page with every request that changes or opens something
            return host, scope
        origin = Host.of_origin(origins[0]) if len(origins) == 1 else None
        if origin is None:
            raise RefusedError("Gearbox takes no request from a page that does not say where it came from.")
        if not self._allowed.admit_page(origin, host):
            raise RefusedError(
                f"A page of “{origin}” may not use Gearbox, which it calls “{host}”. If a proxy of yours stands "
                f"between them, let it pass on the Host header, or start Gearbox with "
                f"GEARBOX_ALLOWED_HOSTS={origin.name} in its environment."
            )
        return host, _called_by(scope, origins[0])

    def _refusal(self, sentence: str, scope: Scope) -> ASGIApp:
        headers = {"Cache-Control": "no-store"}
        if self._api_refusal and Entrance.of(scope) is Entrance.API:
            return self._api_refusal(403, sentence, DENIED, "strange_host", headers=headers)
        return PlainTextResponse(f"{sentence}\n", status_code=403, headers=headers)

    def _log(self, sentence: str) -> None:
        """Say it once on the console: behind a proxy the browser shows no more than a page that stays empty."""
        if sentence not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add(sentence)
            _LOGGER.warning("%s", sentence)


def _called_by(scope: Scope, origin: str) -> Scope:
    """The request as if it called the server by its page's name.

    Streamlit compares the two once more, letter by letter, and where they differ asks a server on the internet for
    this machine's address.
    """
    name = origin.partition("://")[2].encode("latin-1")
    return {**scope, "headers": [(key, name if key == b"host" else value) for key, value in scope["headers"]]}


def _with_headers(send: Send, host: Host | None) -> Send:
    async def send_on(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers["Content-Security-Policy"] = _content_policy(host)
        await send(message)

    return send_on


def _content_policy(host: Host | None) -> str:
    """What a page may load and run: what comes from this server, and nothing else."""
    # some browsers do not count a websocket among what 'self' means
    sockets = f" ws://{host} wss://{host}" if host else ""
    return "; ".join(
        (
            "default-src 'self'",
            # blob: Streamlit hands a component's script over so; without a script of its own nobody makes one
            f"script-src 'self' blob: {_INLINE_SCRIPTS}",
            "style-src 'self' 'unsafe-inline'",  # Streamlit and plotly write styles into the page
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data:",
            f"connect-src 'self'{sockets}",
            "worker-src 'self' blob:",
            "frame-src 'none'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def _inline_scripts() -> str:
    """The scripts that stand in Streamlit's own page, each by its hash."""
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)


_INLINE_SCRIPTS = _inline_scripts()
