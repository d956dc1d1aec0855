import asyncio

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from app.doors.preload import Preload, charts_link


async def served(scope: Scope, receive: Receive, send: Send) -> None:
    path = Request(scope).url.path
    response: Response = HTMLResponse("<p>") if path == "/ops" else PlainTextResponse("x")
    await response(scope, receive, send)


def test_pages_name_the_script_of_charts_and_nothing_else_does() -> None:
    client = TestClient(Preload(served))
    link = client.get("/ops").headers["link"]
    assert link == charts_link()
    assert link.startswith("<./static/js/PlotlyChart.")
    assert "link" not in client.get("/metrics").headers


def test_what_is_no_request_passes() -> None:
    passed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope["type"])

    asyncio.run(Preload(app)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == ["lifespan"]
