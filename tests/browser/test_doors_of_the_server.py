"""The real server behind its doors: strange names and strange pages, by hand and from a real browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route

from app.settings import REPOSITORY
from tests.browser.conftest import MakeServer
from tests.support.server import CHROMIUM_FLAGS, PASSWORD, Server, sign_in

pytestmark = pytest.mark.browser

STREAM = "/_stcore/stream"
PATHS = ["/", "/conversation", "/healthz", "/_stcore/health", "/_stcore/host-config", "/_stcore/metrics",
         "/favicon.png", "/media/x.png", "/component/x", "/_stcore/agent/openapi.json"]  # fmt: skip

# Counts what the server's process asks of the network beyond this machine.
RECORDER = """
import sys

def note(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0] if event in ("socket.getaddrinfo", "socket.gethostbyname") else args[1]
        host = host[0] if isinstance(host, tuple) else host
        if host not in (None, "localhost", "127.0.0.1", "0.0.0.0", "::", "::1", b"127.0.0.1") and "/" not in str(host):
            with open({file!r}, "a") as file:
                file.write(f"{{event}} {{host}}\\n")

sys.addaudithook(note)
"""


def knock(server: Server, method: str, target: str, *headers: str) -> tuple[int, str]:
    """Send a request as it stands; the status and the whole answer."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall("\r\n".join([f"{method} {target} HTTP/1.1", *headers, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
        head = answer.partition(b"\r\n\r\n")[0].decode().lower()
        if "content-length: " in head:
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            while method != "HEAD" and len(answer.partition(b"\r\n\r\n")[2]) < length:
                answer += connection.recv(65536)
    return int(answer.split(b" ", 2)[1]), answer.decode(errors="replace")


def open_socket(server: Server, host: str, origin: str | None, *headers: str) -> int:
    """The status that a websocket's handshake is answered with."""
    upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]  # fmt: skip
    return knock(
        server, "GET", STREAM, f"Host: {host}", *upgrade, *headers, *([f"Origin: {origin}"] if origin else [])
    )[0]


def port_of(server: Server) -> int:
    port = urlsplit(server.url).port
    assert port
    return port


@pytest.mark.parametrize("path", PATHS)
def test_no_path_answers_to_a_strange_name(server: Server, path: str) -> None:
    status, answer = knock(server, "GET", path, f"Host: evil.example:{port_of(server)}")
    assert status == 403
    assert (
        "does not answer to the name “evil.example”" in answer.encode("latin-1", "ignore").decode() or "evil" in answer
    )
    assert "frame-ancestors 'none'" in answer


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "OPTIONS"])
def test_no_upload_from_a_strange_name_or_page(server: Server, method: str) -> None:
    target, name = "/_stcore/upload_file/session/file", f"127.0.0.1:{port_of(server)}"
    assert knock(server, method, target, "Host: evil.example", "Content-Length: 0")[0] == 403
    for origin in ("http://evil.example", "null", "http://localhost:1"):
        assert knock(server, method, target, f"Host: {name}", f"Origin: {origin}", "Content-Length: 0")[0] == 403


def test_the_websocket_opens_for_this_server_s_pages_only(server: Server) -> None:
    port = port_of(server)
    for name in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"gearbox.localhost:{port}"):
        assert open_socket(server, name, f"http://{name}") == 101
        assert open_socket(server, name, None) == 101
        for origin in ("null", f"http://evil.example:{port}", "http://localhost:1", f"http://{name}.evil.example"):
            assert open_socket(server, name, origin) == 403
    assert open_socket(server, f"evil.example:{port}", f"http://evil.example:{port}") == 403
    assert open_socket(server, f"evil.example:{port}", None) == 403
    assert open_socket(server, f"user@localhost:{port}", None) == 403


def test_malformed_requests_are_refused(server: Server) -> None:
    port = port_of(server)
    assert knock(server, "GET", "/", f"Host: localhost:{port}", "Host: evil.example")[0] in (400, 403)
    assert knock(server, "GET", "/")[0] in (400, 403)
    assert knock(server, "GET", f"http://evil.example:{port}/", f"Host: localhost:{port}")[0] == 403
    assert knock(server, "GET", f"http://localhost:{port}/", f"Host: evil.example:{port}")[0] == 403


@pytest.fixture
def strange_page(chromium: str, browser: Browser) -> Iterator[Page]:
    """A page in a browser for which evil.example is this machine, and which has no wall of its own around it."""
    flags = (
        "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP other.example 127.0.0.1",
        "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
    )
    misled = browser.browser_type.launch(executable_path=chromium, args=[*CHROMIUM_FLAGS, *flags])
    yield misled.new_page()
    misled.close()


# what a hostile page would try, each by the answer it got
_TRIES = """async ([http, path]) => {
    const ws = http.replace("http", "ws") + path;
    const socket = new Promise(done => {
        const socket = new WebSocket(ws, ["streamlit"]);
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
    });
    const fetched = async (method, mode) => {
        try { return (await fetch(http + "/_stcore/host-config", {method, mode})).status } catch { return "refused" }
    };
    const loaded = (tag, attribute, at) => new Promise(done => {
        const element = document.createElement(tag);
        element.onload = () => done("loaded");
        element.onerror = () => done("refused");
        element[attribute] = http + at;
        document.body.append(element);
    });
    return {
        socket: await socket,
        get: await fetched("GET", "cors"),
        put: await fetched("PUT", "cors"),
        image: await loaded("img", "src", "/favicon.png"),
    };
}"""


def _serve_strange_page(page: Page, url: str) -> None:
    def fulfil(route: Route) -> None:
        route.fulfill(content_type="text/html", body="<!doctype html><title>evil</title><body>")

    page.route(url, fulfil)
    page.goto(url)


def test_a_name_that_resolves_to_this_machine_gets_a_refusal_in_words(server: Server, strange_page: Page) -> None:
    response = strange_page.goto(f"http://evil.example:{port_of(server)}/")
    assert response
    assert response.status == 403
    assert "does not answer to the name “evil.example”" in strange_page.inner_text("body")
    assert "GEARBOX_ALLOWED_HOSTS=evil.example" in strange_page.inner_text("body")


def test_a_page_whose_name_was_turned_to_this_machine_gets_nothing(server: Server, strange_page: Page) -> None:
    home = f"http://evil.example:{port_of(server)}"
    _serve_strange_page(strange_page, f"{home}/evil.html")
    got = strange_page.evaluate(_TRIES, [home, STREAM])
    assert got == {"socket": "refused", "get": 403, "put": 403, "image": "refused"}


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_server_gets_nothing(server: Server, strange_page: Page, name: str) -> None:
    _serve_strange_page(strange_page, "http://other.example/evil.html")
    got = strange_page.evaluate(_TRIES, [f"http://{name}:{port_of(server)}", STREAM])
    assert got == {"socket": "refused", "get": "refused", "put": "refused", "image": "refused"}


def test_another_page_cannot_frame_the_app(server: Server, strange_page: Page) -> None:
    _serve_strange_page(strange_page, "http://other.example/evil.html")
    said: list[str] = []
    strange_page.on("console", lambda message: said.append(message.text))
    strange_page.evaluate(
        "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f) }", server.url
    )
    strange_page.wait_for_timeout(2000)
    assert any("frame-ancestors" in text or "X-Frame-Options" in text for text in said)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "gearbox.localhost"])
def test_the_app_works_under_every_name_of_this_machine(
    server: Server, new_page: Callable[[], Page], name: str
) -> None:
    page = new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"http://{name}:{port_of(server)}/")
    page.get_by_text("Playground").first.wait_for()
    page.wait_for_function("() => !document.querySelector('[data-testid=\"stStatusWidget\"]')")
    assert errors == []


def test_an_added_name_is_served_and_nothing_is_asked_of_the_internet(
    make_server: MakeServer, tmp_path: Path, strange_page: Page
) -> None:
    record = tmp_path / "asked.txt"
    (tmp_path / "sitecustomize.py").write_text(RECORDER.format(file=str(record)))
    watched = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    others = {"GEARBOX_ALLOWED_HOSTS": "evil.example", "GEARBOX_PASSWORD": PASSWORD}
    server = make_server("--server.address", "0.0.0.0", PYTHONPATH=watched, **others)
    port = port_of(server)

    assert f"Gearbox is on http://localhost:{port}" in server.log
    strange_page.goto(f"http://evil.example:{port}/")
    sign_in(strange_page)
    login = next(cookie for cookie in strange_page.context.cookies() if cookie["name"] == "gearbox_login")
    signed_in = f"Cookie: gearbox_login={login['value']}"
    strange_page.get_by_text("Playground").first.wait_for(timeout=60_000)
    _serve_strange_page(strange_page, f"http://evil.example:{port}/evil.html")
    got = strange_page.evaluate(_TRIES, [f"http://evil.example:{port}", STREAM])
    assert got == {"socket": "open", "get": 200, "put": 405, "image": "loaded"}  # so a refusal above is the doors'
    # a proxy that calls the server by another name than the browser does
    assert open_socket(server, f"127.0.0.1:{port}", "https://evil.example", signed_in) == 101
    assert open_socket(server, f"LOCALHOST:{port}", f"http://localhost:{port}", signed_in) == 101
    assert open_socket(server, f"127.0.0.1:{port}", "http://other.example", signed_in) == 403
    assert not record.exists(), record.read_text()
    server.stop()

    # the record does see it
    look_up = "from streamlit.net_util import get_external_ip; get_external_ip()"
    subprocess.run([sys.executable, "-c", look_up], env=os.environ | {"PYTHONPATH": watched}, timeout=120, check=True)
    assert "amazonaws" in record.read_text()


def test_a_setting_that_names_no_host_ends_the_start_in_words(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with pytest.raises(RuntimeError, match="GEARBOX_ALLOWED_HOSTS must list the names") as caught:
        server.start(GEARBOX_ALLOWED_HOSTS="http://gearbox.lan")
    assert "Traceback" not in str(caught.value)


def test_the_pages_served_without_the_doors_say_how_to_start(tmp_path: Path, new_page: Callable[[], Page]) -> None:
    server = Server(tmp_path)
    server.start(script=REPOSITORY / "streamlit_app.py")
    try:
        page = new_page()
        page.goto(server.url)
        page.get_by_text("Start Gearbox with").wait_for()
        page.wait_for_function("() => !document.querySelector('[data-testid=\"stStatusWidget\"]')")
        assert page.get_by_role("textbox").count() == 0
    finally:
        server.stop()
