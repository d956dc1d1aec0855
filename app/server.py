"""The application as it is served: the pages, and what happens before the first and after the last.

Give this file to ``streamlit run``. The pages' script, ``streamlit_app.py``, stays a plain script.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount
from streamlit import config
from streamlit.runtime.pages_manager import PagesManager
from streamlit.web.server.server_util import get_display_address, get_url
from streamlit.web.server.starlette.starlette_server_config import DEFAULT_SERVER_ADDRESS

from app.api.answering import Answering
from app.api.errors import error_response
from app.api.health import health_routes
from app.api.routes import api
from app.doors.access import Access
from app.doors.entrances import Nearness
from app.doors.identity import Identities
from app.doors.login.gate import Gate
from app.doors.login.password import Password, signing_key
from app.doors.login.provider import Provider, ProviderError
from app.doors.login.way import Way
from app.doors.middleware import Doors
from app.doors.preload import Preload
from app.resources import (
    get_alert_watch,
    get_attendance,
    get_engine,
    get_idle_work,
    get_metrics,
    get_races,
    get_telemetry,
    get_whole_store,
    only_this_machine,
)
from app.settings import Settings, SettingsError
from app.store import StoreError
from engine.importing import imports_done

_CLOSED = (
    "The pages of this server are closed to other machines: no way to sign in was set up. Whoever runs it sets "
    "GEARBOX_PASSWORD, GEARBOX_PASSWORD_FILE, or a provider in .streamlit/secrets.toml."
)


def _settings() -> Settings:
    try:
        return Settings.from_env()
    except SettingsError as error:
        _give_up(str(error))


def _way(settings: Settings) -> Way | str:
    """How others than this machine sign in; why they cannot."""
    has_provider = Provider.is_configured() and not only_this_machine(settings)
    if settings.password and has_provider:
        _give_up("There are a password and an [auth] in .streamlit/secrets.toml: choose one way to sign in.")
    if settings.password:
        return Password(settings.password, signing_key(settings.data_dir))
    if not has_provider:
        return _CLOSED
    try:
        return Provider(settings.login_emails, config.get_option("server.baseUrlPath"))
    except ProviderError as error:
        _give_up(str(error))


def _give_up(words: str) -> NoReturn:
    sys.stderr.write(f"{words}\n")
    sys.exit(2)


def _doors(settings: Settings, way: Way | str) -> list[Middleware]:
    """What a request passes before the app, the outermost first."""
    nearness = Nearness(only_this_machine(settings))
    return [
        Middleware(Doors, allowed=settings.allowed_hosts, api_refusal=error_response),
        Middleware(Gate, way=way, nearness=nearness),
        Middleware(Identities),
        Middleware(
            Access,
            keys=lambda: get_whole_store().keys,
            keys_fail=StoreError,
            nearness=nearness,
            is_on=settings.api,
            max_body=settings.max_body,
            refusal=error_response,
        ),
        Middleware(Preload),
    ]


def _routes() -> list[BaseRoute]:
    """The API, and what looks after the server asks for."""
    models_dir = _SETTINGS.models_dir
    return [
        Mount("/v1", api(models_dir, get_whole_store, _ANSWERING)),
        *health_routes(models_dir, get_engine, get_whole_store, get_metrics()),
    ]


def _url() -> str:
    # Streamlit's own greeting is off: for some addresses it asks a server on the internet for this machine's.
    return get_url(get_display_address(config.get_option("server.address") or DEFAULT_SERVER_ADDRESS))


@asynccontextmanager
async def _lifespan(server: st.App) -> AsyncIterator[None]:
    # Streamlit takes a folder called pages for its older multipage layout until st.navigation has
    # run once, and answers a deep link that comes before that with "Page not found".
    PagesManager.uses_pages_directory = False
    sys.stdout.write(f"Gearbox is on {_url()}\n")
    if _WAY is _CLOSED and not only_this_machine(_SETTINGS):
        sys.stdout.write(f"{_CLOSED}\n")
    sys.stdout.flush()
    get_alert_watch()
    get_idle_work()
    imports_done()
    yield
    get_idle_work.clear()
    get_alert_watch.clear()
    get_races.clear()  # what was running is stopped, and kept
    _ANSWERING.close()
    get_attendance.clear()
    get_engine.clear()
    get_whole_store.clear()
    get_telemetry.clear()


_SETTINGS = _settings()
_WAY = _way(_SETTINGS)
_ANSWERING = Answering(get_engine, get_whole_store)

app = st.App(
    Path(__file__).parent.parent / "streamlit_app.py",
    lifespan=_lifespan,
    routes=_routes(),
    middleware=_doors(_SETTINGS, _WAY),
)
