"""The gate of a provider: who comes in by its word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from streamlit.errors import StreamlitAuthError
from streamlit.runtime.secrets import AttrDict
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from app.doors.login import provider as provider_module
from app.doors.login.provider import Provider, ProviderError
from tests.support.asgi import ask, make_scope
from tests.support.login import BROWSER, WORD, gate, send

SECRET = "a secret of thirty-two characters"
AUTH = {
    "redirect_uri": "https://gearbox.example/oauth2callback",
    "cookie_secret": SECRET,
    "client_id": "id",
    "client_secret": "s",
    "server_metadata_url": "https://id.example/.well-known/openid-configuration",
}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What stands in the secrets' ``[auth]``, with Authlib there to use it."""
    auth: dict[str, Any] = dict(AUTH)
    monkeypatch.setattr(provider_module, "get_secrets_auth_section", lambda: AttrDict(auth))
    monkeypatch.setattr(provider_module, "is_authlib_installed", lambda: True)
    monkeypatch.setattr(provider_module, "validate_auth_credentials", lambda name: None)
    monkeypatch.setattr(provider_module, "get_cookie_secret", lambda: SECRET)
    monkeypatch.setattr(provider_module, "encode_provider_token", lambda name: f"token-of-{name}")
    return auth


def user_cookie(secret: str = SECRET, **user: Any) -> tuple[str, str]:
    """The cookie as Streamlit sets it after a provider's answer."""
    said = {"is_logged_in": True, "origin": "https://gearbox.example", "email": "anna@example.com"} | user
    value = create_signed_value(secret, "_streamlit_user", json.dumps(said)).decode()
    return "Cookie", f"_streamlit_user={value}"


def test_a_link_leads_to_the_provider_and_its_way_back_is_open(secrets: dict[str, Any]) -> None:
    """A form could not: the content policy lets none lead to another site, over no redirection either."""
    app = gate(Provider(()))
    page = ask(app, make_scope("/", BROWSER)).text
    assert 'href="/auth/login?provider=token-of-default">Sign in</a>' in page
    assert "<form" not in page
    assert send(app, {"provider": "default", "password": WORD}).status == 403
    for path in ("/auth/login", "/oauth2callback", "/auth/logout"):
        assert ask(app, make_scope(path)).status == 200
        assert ask(app, make_scope(path, kind="websocket")).status == 403
    assert ask(app, make_scope("/auth/login/x")).status == 403


def test_each_provider_has_a_button_and_the_app_s_own_path_is_kept(secrets: dict[str, Any]) -> None:
    secrets.pop("client_id")
    secrets |= {"google": {"client_id": "g"}, "okta": {"client_id": "o"}}
    way = Provider((), "lab")
    page = ask(gate(way), make_scope("/lab/", BROWSER)).text
    assert 'href="/lab/auth/login?provider=token-of-google">Sign in with Google</a>' in page
    assert 'href="/lab/auth/login?provider=token-of-okta">Sign in with Okta</a>' in page
    assert ask(gate(way), make_scope("/lab/oauth2callback")).status == 200
    assert ask(gate(way), make_scope("/oauth2callback")).status == 403


def test_whoever_the_provider_names_comes_in(secrets: dict[str, Any]) -> None:
    app = gate(Provider(()))
    assert ask(app, make_scope("/", user_cookie())).status == 200
    assert ask(app, make_scope("/_stcore/stream", user_cookie(), kind="websocket")).status == 101
    for strange in (
        user_cookie(is_logged_in=False), user_cookie(is_logged_in="yes"), user_cookie("another secret"),
        ("Cookie", "_streamlit_user=x"), ("Cookie", "_streamlit_user=" + "x" * 10_000),
        ("Cookie", "_streamlit_user_tokens" + user_cookie()[1].removeprefix("_streamlit_user")),
    ):  # fmt: skip
        assert ask(app, make_scope("/", strange)).status == 403


@pytest.mark.parametrize(
    ("user", "status"),
    [
        ({"email": "anna@example.com"}, 200),
        ({"email": "ANNA@Example.com"}, 200),
        ({"email": "bob@example.org"}, 200),
        ({"email": "anna@example.com", "email_verified": True}, 200),
        ({"email": "anna@example.com", "email_verified": False}, 403),
        ({"email": "bob@example.com"}, 403),
        ({"email": "bob@sub.example.org"}, 403),
        ({"email": "bob@evilexample.org"}, 403),
        ({"email": "bob@evil.com@example.org"}, 403),
        ({"email": None}, 403),
        ({"email": ["anna@example.com"]}, 403),
    ],
)
def test_only_those_on_the_list_come_in(secrets: dict[str, Any], user: dict[str, Any], status: int) -> None:
    app = gate(Provider(("anna@example.com", "*@example.org")))
    assert ask(app, make_scope("/", user_cookie(**user))).status == status


def test_somebody_who_may_not_come_in_reads_so_and_can_sign_out(secrets: dict[str, Any]) -> None:
    app = gate(Provider(("anna@example.com",)))
    page = ask(app, make_scope("/", BROWSER, user_cookie(email="<b>@example.com")))
    assert "You are signed in as &lt;b&gt;@example.com, who may not use this server." in page.text
    assert 'href="/auth/logout">Sign out</a>' in page.text


def test_secrets_that_cannot_be_used_are_told_at_the_start(
    secrets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Provider.is_configured()
    monkeypatch.setattr(provider_module, "is_authlib_installed", lambda: False)
    with pytest.raises(ProviderError, match="pip install Authlib"):
        Provider(())
    monkeypatch.setattr(provider_module, "is_authlib_installed", lambda: True)
    secrets.pop("client_id")
    with pytest.raises(ProviderError, match="names no provider"):
        Provider(())
    secrets["client_id"] = "id"

    def lacks(name: str) -> None:
        raise StreamlitAuthError("missing the\n   cookie_secret")

    monkeypatch.setattr(provider_module, "validate_auth_credentials", lacks)
    with pytest.raises(ProviderError, match="missing the cookie_secret"):
        Provider(())
    secrets.clear()
    assert not Provider.is_configured()
