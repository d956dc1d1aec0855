"""What the login asks of a way to sign in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Scope


@dataclass(frozen=True, slots=True)
class Cookie:
    """What a browser keeps after signing in."""

    name: str
    value: str
    lasts_s: int


class WrongError(Exception):
    """Signing in did not work; the message is for whoever tries.

    Args:
        message: why.
        retry_s: when the next try may be made; ``None`` for at once.
    """

    def __init__(self, message: str, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class Way(Protocol):
    """A way to sign in."""

    @property
    def open_paths(self) -> frozenset[str]:
        """Paths that signing in itself needs, open to everybody."""

    def knows(self, cookies: Mapping[str, str]) -> bool:
        """Whether a browser with these cookies has signed in."""

    def stranger(self, cookies: Mapping[str, str]) -> str | None:
        """Who signed in but may not come in, for the page that says so; ``None`` for nobody."""

    def sign_in_form(self) -> str:
        """What the login page shows, as HTML."""

    def sign_out_form(self) -> str:
        """What the page shows that asks whether to sign out, as HTML."""

    async def sent(self, fields: Mapping[str, str], scope: Scope) -> Cookie:
        """What comes of a form of these as it was sent.

        Raises:
            WrongError: nothing does.
        """
