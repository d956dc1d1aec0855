"""The playground, opened through the entry on a scripted engine and a real store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import engine
from app import resources
from app.background.jobs import Jobs
from app.runs.races import Races
from app.settings import Settings
from app.speculation.drafter_choices import DrafterChoices
from app.store import RunStore
from tests.support.fakes import FakeEngine
from tests.support.playground import ENTRY
from tests.support.ui import ESTIMATES


@pytest.fixture
def playground(tmp_path: Path, store: RunStore, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open the page on an engine."""

    def open_page(
        scripted: FakeEngine,
        installed: tuple[str, ...] = ("smollm2-135m", "qwen2.5-coder-0.5b"),
        state: Mapping[str, Any] = MappingProxyType({}),
    ) -> AppTest:
        settings = Settings(data_dir=tmp_path, database_url="", models_dir=tmp_path / "models")
        catalogue = {"smollm2-135m": 135, "qwen2.5-coder-0.5b": 494, "qwen2.5-coder-1.5b": 1_544}
        models = [
            SimpleNamespace(
                name=name,
                title=name.upper(),
                in_catalog=True,
                installed=name in installed,
                problem=None,
                parameters=parameters,
                context_length=2048,
            )
            for name, parameters in catalogue.items()
        ]
        monkeypatch.setattr(resources, "get_settings", lambda: settings)
        monkeypatch.setattr(resources, "get_store", lambda: store)
        monkeypatch.setattr(resources, "get_engine", lambda: scripted)
        races = Races()
        monkeypatch.setattr(resources, "get_races", lambda: races)
        monkeypatch.setattr(resources, "get_estimates", lambda: ESTIMATES)
        monkeypatch.setattr(engine, "list_models", lambda _: models)
        monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
        choices = DrafterChoices(scripted, jobs, settings.models_dir)  # type: ignore[arg-type]
        monkeypatch.setattr(resources, "get_drafter_choices", lambda: choices)
        page = AppTest.from_file(ENTRY, default_timeout=30)
        for key, value in state.items():
            page.session_state[key] = value
        page.run()
        assert not page.exception
        return page

    return open_page
