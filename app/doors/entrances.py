"""Which door a request stands before, and whether it comes from this machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import Scope

API_PATH = "/v1/"
_HEALTH = ("/healthz", "/readyz", "/_stcore/health")
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")
_IPV6_HOUSE = 64
"""Bits of an IPv6 address that name a network: whoever has one address there has all."""


class Entrance(Enum):
    """What a request asks for, as far as it matters who may have it."""

    PAGES = auto()
    """The pages and all that belongs to them, websockets included: whatever is none of the others."""
    API = auto()
    METRICS = auto()
    HEALTH = auto()
    """Whether the server is alive: anybody may know."""

    @classmethod
    def of(cls, scope: Scope) -> Entrance:
        """The entrance that a request wants to pass, by the very path that the routes see."""
        path = scope["path"]
        if scope["type"] != "http":
            return cls.PAGES
        if path.startswith(API_PATH):
            return cls.API
        if path == "/metrics":
            return cls.METRICS
        return cls.HEALTH if path in _HEALTH else cls.PAGES


@dataclass(frozen=True, slots=True)
class Nearness:
    """Tells requests of this machine's own people from those of others."""

    only_this_machine: bool
    """Whether the server is meant for nobody else: see `AllowedHosts.only_this_machine`."""

    def is_local(self, scope: Scope) -> bool:
        """Whether a request comes from this machine, to a server that is meant for it alone, and through no proxy."""
        if not self.only_this_machine or any(name in _FORWARDED for name, _ in scope["headers"]):
            return False
        peer = _peer(scope)
        return peer is not None and peer.is_loopback


def network_of(scope: Scope) -> str:
    """From where a request comes, for counting tries: an IPv4 address, or the network of an IPv6 address."""
    peer = _peer(scope)
    if peer is None:
        return "unknown"
    return str(peer) if isinstance(peer, IPv4Address) else f"{int(peer) >> 128 - _IPV6_HOUSE:x}"


def _peer(scope: Scope) -> IPv4Address | IPv6Address | None:
    try:
        peer = ip_address(scope["client"][0])
    except (KeyError, TypeError, ValueError):  # a socket that is a file has no address
        return None
    return peer.ipv4_mapped or peer if isinstance(peer, IPv6Address) else peer
