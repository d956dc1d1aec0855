"""Signing in with an account of an OIDC provider, by Streamlit's own login.

Streamlit's routes talk to the provider and set its signed cookie; here it is read before any page is. ``st.user`` of
the pages is whoever it names.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import Scope
from streamlit.auth_util import (
    encode_provider_token,
    get_cookie_with_chunks,
    get_secrets_auth_section,
    is_authlib_installed,
    validate_auth_credentials,
)
from streamlit.errors import StreamlitAuthError
from streamlit.url_util import make_url_path
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from app.doors.login.way import Cookie, WrongError

_LOGIN, _LOGOUT, _CALLBACK = "auth/login", "auth/logout", "oauth2callback"
"""Streamlit's routes."""
_UNNAMED = "default"


class ProviderError(Exception):
    """The secrets' ``[auth]`` cannot be used; the message is for whoever runs the server."""


class Provider:
    """Signing in with the providers of the secrets' ``[auth]``.

    Args:
        emails: who may come in: addresses, or ``*@example.com``; empty for whomever the providers let in.
        base_path: below which the app is served.

    Raises:
        ProviderError: it cannot be used.
    """

    def __init__(self, emails: Sequence[str], base_path: str = "") -> None:
        auth = get_secrets_auth_section()
        named = [name for name, section in auth.items() if isinstance(section, Mapping) and "client_id" in section]
        self._names = ([_UNNAMED] if "client_id" in auth else []) + named
        self._emails = tuple(email.lower() for email in emails)
        self._login, self._logout, callback = (make_url_path(base_path, path) for path in (_LOGIN, _LOGOUT, _CALLBACK))
        self.open_paths = frozenset((self._login, self._logout, callback))
        if not is_authlib_installed():
            raise ProviderError("Signing in with a provider needs the package Authlib: pip install Authlib.")
        if not self._names:
            raise ProviderError("The secrets' [auth] names no provider: there is no client_id.")
        for name in self._names:
            try:
                validate_auth_credentials(name)
            except StreamlitAuthError as error:
                raise ProviderError(" ".join(str(error).split())) from error

    @staticmethod
    def is_configured() -> bool:
        """Whether the secrets have an ``[auth]``."""
        return bool(get_secrets_auth_section())

    def knows(self, cookies: Mapping[str, str]) -> bool:
        """Whether somebody is signed in who may come in."""
        user = _user(cookies)
        return bool(user) and self._may_come_in(user)

    def stranger(self, cookies: Mapping[str, str]) -> str | None:
        """Whoever is signed in and may not come in."""
        user = _user(cookies)
        return None if not user or self._may_come_in(user) else str(user.get("email") or "somebody without an address")

    def sign_in_form(self) -> str:
        """A link for each provider: a browser lets no form lead to another site. They hold for two minutes, and then
        lead back to the login page."""
        return "".join(
            _link(
                f"{self._login}?provider={encode_provider_token(name)}",
                "Sign in" if name == _UNNAMED else f"Sign in with {name.capitalize()}",
            )
            for name in self._names
        )

    def sign_out_form(self) -> str:
        """A link, which signs out at the provider as well."""
        return _link(self._logout, "Sign out")

    async def sent(self, fields: Mapping[str, str], scope: Scope) -> Cookie:
        """Nothing: there is no form.

        Raises:
            WrongError: always.
        """
        raise WrongError("Choose how to sign in.")

    def _may_come_in(self, user: Mapping[str, Any]) -> bool:
        email = user.get("email")
        if not self._emails:
            return True
        if not isinstance(email, str) or user.get("email_verified") is False:
            return False
        email = email.lower()
        return any(
            email.endswith(entry[1:]) and email.count("@") == 1 if entry.startswith("*@") else email == entry
            for entry in self._emails
        )


def _link(path: str, label: str) -> str:
    return f'<a class="button" href="{html.escape(path)}">{html.escape(label)}</a>'


def _user(cookies: Mapping[str, str]) -> dict[str, Any]:
    """What the provider says of whoever is signed in; nothing if nobody is."""

    def signed(name: str) -> bytes | None:
        value = cookies.get(name)
        return decode_signed_value(get_cookie_secret(), name, value.encode("latin-1")) if value else None

    try:
        found = get_cookie_with_chunks(signed, USER_COOKIE_NAME)
        user = json.loads(found) if found else {}
    except ValueError:  # not latin-1, or not JSON
        return {}
    return user if isinstance(user, dict) and user.get("is_logged_in") is True else {}
