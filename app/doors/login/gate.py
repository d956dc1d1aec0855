"""The gate before the pages: whoever comes from another machine signs in first.

It stands before Streamlit, so that nothing of the app can be reached without it: no page, no websocket, no file. The
login page appears wherever one went, and leads on there.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.doors.entrances import Entrance, Nearness
from app.doors.login.page import SIGN_OUT, closed_page, refused_page, sign_in_page, sign_out_page
from app.doors.login.way import Way, WrongError

_FORM = "application/x-www-form-urlencoded"
_MOST_BYTES = 16_384
"""Of a form."""


class Gate:
    """ASGI middleware before the pages; everything else passes, and so do requests of this machine.

    Args:
        app: what is behind.
        way: how to sign in; words for those who come where nothing was set up.
        nearness: who need not.
    """

    def __init__(self, app: ASGIApp, *, way: Way | str, nearness: Nearness) -> None:
        self._app = app
        self._way = way
        self._nearness = nearness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] not in ("http", "websocket")
            or Entrance.of(scope) is not Entrance.PAGES
            or self._nearness.is_local(scope)
        ):
            await self._app(scope, receive, send)
            return
        answer = await self._answer(scope, receive)
        if answer is None:
            await self._app(scope, receive, send)
            return
        answer.headers["Cache-Control"] = "no-store, private"
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """What the gate says; ``None`` lets the request in."""
        way, wants_page = self._way, _wants_page(scope)
        if isinstance(way, str):
            return HTMLResponse(closed_page(way), 403) if wants_page else PlainTextResponse(f"{way}\n", 403)
        cookies = HTTPConnection(scope).cookies
        has_signed_in = way.knows(cookies)
        fields = await _fields(scope, receive) if _is_form(scope) else {}
        if fields and has_signed_in and "leave" not in fields:  # once more, from a page that the browser had kept
            return RedirectResponse(_path(scope), 303)
        if fields:
            return await _sent(way, fields, scope)
        if has_signed_in:
            is_leaving = wants_page and scope["path"].endswith(f"/{SIGN_OUT}")
            return HTMLResponse(sign_out_page(way.sign_out_form())) if is_leaving else None
        if scope["type"] == "http" and scope["path"] in way.open_paths:
            return None
        if not wants_page:
            return PlainTextResponse("Sign in first.\n", 403)
        if who := way.stranger(cookies):
            return HTMLResponse(refused_page(who, way.sign_out_form()), 403)
        return HTMLResponse(sign_in_page(way.sign_in_form(), wrong=None), 403)


async def _sent(way: Way, fields: Mapping[str, str], scope: Scope) -> Response:
    """On to the page that was asked for, with a cookie; or the form again."""
    try:
        cookie = await way.sent(fields, scope)
    except WrongError as error:
        status, headers = (429, {"Retry-After": str(error.retry_s)}) if error.retry_s else (403, {})
        return HTMLResponse(sign_in_page(way.sign_in_form(), wrong=str(error)), status, headers)
    response = RedirectResponse(_path(scope), 303)
    secure = scope["scheme"] == "https"
    response.set_cookie(cookie.name, cookie.value, cookie.lasts_s, secure=secure, httponly=True, samesite="lax")
    return response


def _path(scope: Scope) -> str:
    """The page that was asked for, on this server: what looks like another one's name is a path here."""
    query = scope.get("query_string", b"").decode("latin-1")
    path = "/" + quote(scope["path"].removesuffix(SIGN_OUT).lstrip("/\\"))
    return f"{path}?{query}" if query else path


def _wants_page(scope: Scope) -> bool:
    """Whether a browser would show the answer, as far as it tells."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    headers = Headers(scope=scope)
    return headers.get("sec-fetch-dest", "document") == "document" and "text/html" in headers.get("accept", "")


def _is_form(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    return Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower() == _FORM


async def _fields(scope: Scope, receive: Receive) -> dict[str, str]:
    """The fields of a form; none of one that is too long for a password."""
    body, more = b"", True
    while more and len(body) <= _MOST_BYTES:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return {} if len(body) > _MOST_BYTES else dict(parse_qsl(body.decode("utf-8", "replace"), True))
