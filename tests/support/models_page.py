"""The Models page of an installation of its own, on the real engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app import resources
from app.background.jobs import JobState
from engine.machine import bandwidth
from tests.support.ui import ENTRY


@contextmanager
def models_page(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> Iterator[AppTest]:
    """The page, opened through the entry, with nothing in the data folder but what is there."""
    monkeypatch.setenv("GEARBOX_DATA_DIR", str(data_dir))
    monkeypatch.delenv("GEARBOX_DATABASE_URL", raising=False)
    monkeypatch.setattr(bandwidth, "BUFFER_BYTES", 1 << 20)
    st.cache_resource.clear()
    try:
        yield open_models_page()
    finally:
        resources.get_jobs().close()
        st.cache_resource.clear()


def open_models_page() -> AppTest:
    """The page as whoever comes next finds it."""
    return AppTest.from_file(str(ENTRY), default_timeout=60).run().switch_page("pages/models.py").run()


def texts(app: AppTest) -> str:
    """What stands on the page in words."""
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.subheader])


def settled(app: AppTest, *keys: str) -> AppTest:
    """The page once jobs whose key begins so are over."""
    until = time.monotonic() + 60
    jobs = resources.get_jobs()
    while any(known.startswith(keys) and (jobs.state(known) or JobState("done")).running for known in jobs._jobs):
        assert time.monotonic() < until
        time.sleep(0.02)
    return app.run()
