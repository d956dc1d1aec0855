"""Which door a request stands before, and who counts as being at this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.doors.entrances import Entrance, Nearness, network_of
from app.doors.hosts import AllowedHosts
from tests.support.asgi import make_scope


@pytest.mark.parametrize(
    ("path", "entrance"),
    [
        ("/v1/models", Entrance.API),
        ("/v1/", Entrance.API),
        ("/v1/../_stcore/stream", Entrance.API),
        ("/metrics", Entrance.METRICS),
        ("/healthz", Entrance.HEALTH),
        ("/readyz", Entrance.HEALTH),
        ("/_stcore/health", Entrance.HEALTH),
        ("/", Entrance.PAGES),
        ("/v1", Entrance.PAGES),
        ("/V1/models", Entrance.PAGES),
        ("//v1/models", Entrance.PAGES),
        ("/history/../v1/models", Entrance.PAGES),
        ("/_stcore/metrics", Entrance.PAGES),
        ("/healthz/", Entrance.PAGES),
        ("/metrics/x", Entrance.PAGES),
        ("/static/js/index.js", Entrance.PAGES),
    ],
)
def test_only_the_very_paths_of_the_api_and_of_health_are_not_pages(path: str, entrance: Entrance) -> None:
    assert Entrance.of(make_scope(path)) is entrance


def test_a_websocket_is_always_a_page_s() -> None:
    for path in ("/v1/chat", "/healthz", "/metrics", "/_stcore/health", "/_stcore/stream"):
        assert Entrance.of(make_scope(path, kind="websocket")) is Entrance.PAGES


@pytest.mark.parametrize(
    ("client", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.7", False),
        ("::ffff:192.0.2.7", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_loopback_peer_is_at_this_machine(client: str | None, local: bool) -> None:
    assert Nearness(True).is_local(make_scope(client=client)) is local
    assert not Nearness(False).is_local(make_scope(client=client))


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_what_came_through_a_proxy_is_not_local_whatever_it_says(name: str) -> None:
    assert not Nearness(True).is_local(make_scope("/", (name, "127.0.0.1"), client="127.0.0.1"))


@pytest.mark.parametrize(
    ("address", "hosts", "here"),
    [
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("localhost", "", True),
        ("127.0.0.1", "gearbox.lan", False),
        ("0.0.0.0", "", False),
        ("::", "", False),
        ("192.0.2.7", "", False),
        (None, "", False),
        ("unix:///run/gearbox.sock", "", False),
    ],
)
def test_a_server_is_for_this_machine_alone_if_it_listens_there_and_no_name_was_added(
    address: str | None, hosts: str, here: bool
) -> None:
    assert AllowedHosts.parse(hosts).only_this_machine(address) is here


def test_one_ipv6_network_counts_as_one() -> None:
    networks = {network_of(make_scope(client=f"2001:db8:1:2::{number:x}")) for number in range(1, 20)}
    assert len(networks) == 1
    assert network_of(make_scope(client="2001:db8:1:3::1")) not in networks
    assert network_of(make_scope(client="192.0.2.7")) == network_of(make_scope(client="::ffff:192.0.2.7"))
    assert network_of(make_scope(client="192.0.2.7")) != network_of(make_scope(client="192.0.2.8"))


@given(st.text(alphabet="/v1metricshalzy.%\\?_V", max_size=12))
def test_what_is_open_without_a_login_is_behind_the_api_s_check_or_health(path: str) -> None:
    entrance = Entrance.of(make_scope(f"/{path}"))
    if entrance is not Entrance.PAGES:
        assert f"/{path}".startswith("/v1/") or f"/{path}" in ("/metrics", "/healthz", "/readyz", "/_stcore/health")
