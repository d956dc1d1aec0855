"""The application as it is served: the pages, and what happens before the first and after the last.

Give this file to ``streamlit run``. The pages' script, ``streamlit_app.py``, stays a plain script.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount
from streamlit import config
from streamlit.runtime.pages_manager import PagesManager
from streamlit.web.server.server_util import get_display_address, get_url
from streamlit.web.server.starlette.starlette_server_config import DEFAULT_SERVER_ADDRESS

from app.api.answering import Answering
from app.api.health import health_routes
from app.api.routes import api
from app.doors.identity import Identities
from app.doors.middleware import Doors
from app.resources import get_attendance, get_engine, get_metrics, get_races, get_whole_store
from app.settings import Settings, SettingsError


def _settings() -> Settings:
    try:
        return Settings.from_env()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


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
    sys.stdout.flush()
    yield
    get_races.clear()  # what was running is stopped, and kept
    _ANSWERING.close()
    get_attendance.clear()
    get_engine.clear()
    get_whole_store.clear()


_SETTINGS = _settings()
_ANSWERING = Answering(get_engine, get_whole_store)

app = st.App(
    Path(__file__).parent.parent / "streamlit_app.py",
    lifespan=_lifespan,
    routes=_routes(),
    middleware=[Middleware(Doors, allowed=_SETTINGS.allowed_hosts), Middleware(Identities)],
)
