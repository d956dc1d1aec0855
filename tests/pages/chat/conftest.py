"""The Chat page, opened on a scripted engine."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

import engine
from app import resources
from app.settings import Settings
from app.store import RunStore
from tests.support.chat_page import TITLES, Open
from tests.support.fakes import FakeEngine
from tests.support.ui import open_app


@pytest.fixture
def chat(tmp_path: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open the page on an engine."""

    def open_page(
        scripted: FakeEngine, installed: Collection[str] = tuple(TITLES), problem: str | None = None
    ) -> AppTest:
        settings = Settings(data_dir=tmp_path, database_url="", models_dir=tmp_path / "models")
        models = [
            SimpleNamespace(name=name, title=title, in_catalog=True, installed=name in installed, problem=problem)
            for name, title in TITLES.items()
        ]
        monkeypatch.setattr(resources, "get_settings", lambda: settings)
        monkeypatch.setattr(engine, "list_models", lambda _: models)
        return open_app(monkeypatch, store, "pages/chat.py", engine=scripted)

    return open_page
