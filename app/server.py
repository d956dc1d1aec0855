"""The application as it is served: the pages, and what happens before the first and after the last.

Give this file to ``streamlit run``. The pages' script, ``streamlit_app.py``, stays a plain script.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from app.resources import get_engine, get_store


@asynccontextmanager
async def _lifespan(server: st.App) -> AsyncIterator[None]:
    # Streamlit takes a folder called pages for its older multipage layout until st.navigation has
    # run once, and answers a deep link that comes before that with "Page not found".
    PagesManager.uses_pages_directory = False
    yield
    get_engine.clear()  # what was running is stopped, and kept
    get_store.clear()


app = st.App(Path(__file__).parent.parent / "streamlit_app.py", lifespan=_lifespan)
