"""A real server that listens on every address, asked over the network: keys, the password, websockets."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from app.doors.keys import KeyLimits
from app.store import KeyStore
from tests.support.server import PASSWORD, Server


def _address() -> str | None:
    """An address of this machine that is not a loopback one; nothing is sent to find it."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


class Asked:
    """What a server answered."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()


class Visitor:
    """Somebody who comes to the server by an address."""

    def __init__(self, server: Server, address: str, context: ssl.SSLContext | None = None) -> None:
        self.authority = f"{address}:{urlsplit(server.url).port}"
        self._context = context

    def ask(self, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Asked:
        """One request; underscores of a header's name stand for hyphens."""
        make = http.client.HTTPSConnection if self._context else http.client.HTTPConnection
        options = {"context": self._context} if self._context else {}
        connection = make(self.authority, timeout=60, **options)
        with closing(connection):
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, body, fields)
            return Asked(connection.getresponse())

    def sign_in(self, word: str = PASSWORD) -> Asked:
        """Send the password."""
        body = urlencode({"password": word}).encode()
        return self.ask("/history?x=1", body, Content_Type="application/x-www-form-urlencoded")

    def open_stream(self, cookie: str | None = None) -> int:
        """Open the pages' websocket; the status it was answered with."""
        headers = {"Cookie": cookie} if cookie else {}
        try:
            with connect(f"ws://{self.authority}/_stcore/stream", additional_headers=headers, open_timeout=60):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code


@pytest.fixture(scope="module")
def address() -> str:
    found = _address()
    if not found:
        pytest.skip("this machine has a loopback address alone")
    return found


@pytest.fixture(scope="module")
def server(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("data"))
    server.start("--address", "0.0.0.0", "--api", GEARBOX_ALLOWED_HOSTS=address, GEARBOX_PASSWORD=PASSWORD)
    yield server
    server.stop()


@pytest.fixture
def visitor(server: Server, address: str) -> Visitor:
    return Visitor(server, address)


@pytest.fixture(scope="module")
def secret(server: Server) -> str:
    """A key that was made beside the running server."""
    with closing(KeyStore.open(server.database_url)) as keys:
        return keys.create("tests", KeyLimits(requests_per_minute=1_000))[1]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("path", ["/", "/history", "/static/js/x.js", "/_stcore/host-config", "/media/x", "/v1"])
def test_no_page_is_seen_without_the_password(visitor: Visitor, path: str) -> None:
    answer = visitor.ask(path, Accept="text/html")
    assert answer.status == 403
    assert 'name="password"' in answer.text
    assert "Streamlit" not in answer.text
    assert visitor.ask("/_stcore/health").text == "ok"


def test_no_websocket_is_opened_without_the_password_and_one_is_with_it(visitor: Visitor) -> None:
    assert visitor.open_stream() == 403
    assert visitor.open_stream("gearbox_login=1.x.y") == 403
    signed_in = visitor.sign_in()
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/history?x=1")
    cookie = signed_in.headers["Set-Cookie"].partition(";")[0]
    page = visitor.ask("/history", Accept="text/html", Cookie=cookie)
    assert page.status == 200
    assert "Streamlit" in page.text
    assert page.headers["Set-Cookie"].startswith("gearbox_person=")
    assert visitor.open_stream(cookie) == 101


def test_a_wrong_password_opens_nothing(visitor: Visitor) -> None:
    answer = visitor.sign_in("something else")
    assert (answer.status, answer.headers["Set-Cookie"]) == (403, None)


def test_whoever_sits_at_the_machine_of_a_server_for_others_is_asked_too(server: Server) -> None:
    assert Visitor(server, "127.0.0.1").ask("/").status == 403
    assert Visitor(server, "127.0.0.1").ask("/v1/models").status == 401


def test_the_api_is_reached_with_a_key_alone(visitor: Visitor, secret: str) -> None:
    cookie = visitor.sign_in().headers["Set-Cookie"].partition(";")[0]
    for headers in ({}, {"Cookie": cookie}, bearer("gbx_01234567_" + "x" * 43), bearer("é")):
        answer = visitor.ask("/v1/models", **headers)
        assert answer.status == 401
        assert json.loads(answer.text)["error"]["code"] == "invalid_api_key"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert visitor.ask("/v1/models", **bearer(secret)).status not in (401, 403, 429)
    assert visitor.ask("/metrics").status == 401


def test_a_revoked_key_is_refused_at_the_next_request(visitor: Visitor, server: Server) -> None:
    with closing(KeyStore.open(server.database_url)) as keys:
        key, secret = keys.create("short-lived", KeyLimits())
        assert visitor.ask("/v1/models", **bearer(secret)).status != 401
        keys.revoke(key.prefix)
    assert visitor.ask("/v1/models", **bearer(secret)).status == 401


def test_a_page_of_another_site_is_refused_though_it_has_a_key(visitor: Visitor, secret: str) -> None:
    answer = visitor.ask("/v1/chat/completions", b"{}", Origin="http://evil.example", **bearer(secret))
    assert answer.status == 403
    assert json.loads(answer.text)["error"]["type"] == "permission_error"


def test_a_body_that_is_too_large_is_refused_with_words(visitor: Visitor, secret: str) -> None:
    answer = visitor.ask("/v1/chat/completions", b"x" * (2 * 2**20 + 1), **bearer(secret))
    assert answer.status == 413
    assert json.loads(answer.text)["error"]["code"] == "request_too_large"
    assert visitor.ask("/v1/chat/completions", b"x" * (3 * 2**20)).status == 401


def test_neither_keys_nor_passwords_are_on_the_console(visitor: Visitor, server: Server, secret: str) -> None:
    visitor.ask("/v1/models?api_key=" + secret, **bearer(secret))
    visitor.sign_in("my other password")
    for text in (secret[12:], PASSWORD, "my other password"):
        assert text not in server.log


def test_where_nothing_was_set_up_the_pages_are_closed_and_the_api_off(address: str, tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start("--address", "0.0.0.0", GEARBOX_ALLOWED_HOSTS=address)
    try:
        visitor = Visitor(server, address)
        page = visitor.ask("/", Accept="text/html")
        assert page.status == 403
        assert "GEARBOX_PASSWORD" in page.text
        assert "GEARBOX_PASSWORD" in server.log
        assert visitor.open_stream() == 403
        assert json.loads(visitor.ask("/v1/models").text)["error"]["code"] == "api_off"
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"GEARBOX_PASSWORD": "short"}, "at least 8 characters"),
        ({"GEARBOX_PASSWORD": PASSWORD}, "choose one way to sign in"),
        ({}, "pip install Authlib|missing the following keys"),
    ],
)
def test_ways_to_sign_in_that_cannot_be_used_end_the_start_in_words(
    variables: dict[str, str], words: str, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets.toml"
    secrets.write_text('[auth]\nclient_id = "gearbox"\nredirect_uri = "http://x/oauth2callback"\ncookie_secret = "s"\n')
    server = Server(tmp_path)
    with pytest.raises(RuntimeError, match=words) as caught:
        server.start("--address", "0.0.0.0", "--secrets.files", str(secrets), **variables)
    assert "Traceback" not in str(caught.value)


@pytest.mark.slow
def test_over_tls_the_cookies_are_for_tls_alone(address: str, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=gearbox", "-addext",
         f"subjectAltName=IP:{address}", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    server = Server(tmp_path)
    options = ("--server.sslCertFile", str(certificate), "--server.sslKeyFile", str(key))
    trusting = ssl.create_default_context(cafile=str(certificate))
    server.start("--address", "0.0.0.0", *options, GEARBOX_ALLOWED_HOSTS=address, GEARBOX_PASSWORD=PASSWORD)
    try:
        signed_in = Visitor(server, address, trusting).sign_in()
        assert signed_in.status == 303
        assert "; secure" in signed_in.headers["Set-Cookie"].lower()
    finally:
        server.stop()
