"""Telling the browser, with the page itself, which large script its first chart will need.

Streamlit's front end asks for the script that draws Plotly's charts (4.7 MB) only once a chart has come, and shows grey
blocks until it is there.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Preload:
    """Adds a ``Link`` header to pages (HTML Standard, "modulepreload"; RFC 8288)."""

    def __init__(self, app: ASGIApp) -> None:
        """``app`` serves the pages."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        link = charts_link()
        if scope["type"] != "http" or link is None:
            await self._app(scope, receive, send)
            return

        async def send_with_link(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.append("link", link)
            await send(message)

        await self._app(scope, receive, send_with_link)


@cache
def charts_link() -> str | None:
    """The header's value; ``None`` where this Streamlit has no such script."""
    import streamlit

    scripts = Path(streamlit.__file__).parent / "static" / "static" / "js"
    found = next(iter(sorted(scripts.glob("PlotlyChart.*.js"))), None)
    return None if found is None else f"<./static/js/{found.name}>; rel=modulepreload"
