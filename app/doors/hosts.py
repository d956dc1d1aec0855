"""The names that a server answers to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Self

_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile(r"https?://(?P<authority>[^/]+)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Host:
    """A server as a browser calls it: the name in small letters without a dot at its end, and the port if it has one.

    An IPv6 address stands in its shortest form, without brackets.
    """

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, authority: str) -> Self | None:
        """Read a ``Host`` header; ``None`` if it is more, less or other than a name and perhaps a port."""
        found = _AUTHORITY.fullmatch(authority)
        if not found:
            return None
        name = found["name"].lower()
        if name.startswith("["):
            try:
                name = str(IPv6Address(name[1:-1]))
            except ValueError:
                return None
        else:
            name = name.removesuffix(".")
            if not all(name.split(".")):
                return None
        return cls(name, int(found["port"]) if found["port"] else None)

    @classmethod
    def of_origin(cls, origin: str) -> Self | None:
        """Read an ``Origin`` header; ``None`` for "null" and whatever else is no page of a web server."""
        found = _ORIGIN.fullmatch(origin)
        return cls.parse(found["authority"]) if found else None

    @property
    def is_loopback(self) -> bool:
        """Whether the name means this machine to every browser, so that nobody's name server can say otherwise."""
        if self.name == "localhost" or self.name.endswith(".localhost"):
            return True
        try:
            return ip_address(self.name).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The names of this machine, and those that were added: ``gearbox.lan``, an address, ``*.example.com``."""

    added: Sequence[str] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a list with commas between the names.

        Raises:
            ValueError: its message is the entry that is no name.
        """
        return cls(tuple(_entry(entry.strip()) for entry in text.split(",") if entry.strip()))

    def admit(self, host: Host) -> bool:
        """Whether the server answers to this name, at whatever port."""
        return host.is_loopback or self._was_added(host)

    def only_this_machine(self, address: str | None) -> bool:
        """Whether nobody from outside is meant to come in: a server that listens on a loopback ``address`` alone, and
        to which no name was added. ``None`` is every address of the machine."""
        host = Host.parse(f"[{address}]" if address and ":" in address else address or "")
        return host is not None and host.is_loopback and not self.added

    def admit_page(self, origin: Host, host: Host) -> bool:
        """Whether a page of ``origin`` may use the server that it calls ``host``.

        It must have come from this server, or from a name that was added: a proxy in between may call the server by
        another name than the browser does. Pages of other servers on this machine are strangers.
        """
        return origin == host or self._was_added(origin)

    def _was_added(self, host: Host) -> bool:
        return any(
            host.name.endswith(entry[1:]) if entry.startswith("*") else host.name == entry for entry in self.added
        )


def _entry(text: str) -> str:
    star = "*." if text.startswith("*.") else ""
    name = text.removeprefix(star)
    host = Host.parse(f"[{name}]" if ":" in name and not name.startswith("[") else name)
    if host is None or host.port is not None:
        raise ValueError(text)
    return star + host.name
