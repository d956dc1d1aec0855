"""The Router lab, opened through the entry with recorded answers and installed models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

import engine as engine_package
from app import resources
from app.background.jobs import Jobs
from app.router.lab import RouterLab
from app.router.operation import profiles as router_profiles
from app.router.way import Step
from app.store import RunStore
from app.views.router import judge as router_judge
from app.views.router.data import record as router_record
from app.views.router.data import recorded as router_recorded
from engine.cascade import RoutedPrompt, write_prompts
from tests.support.fakes import FakeLabEngine
from tests.support.router_lab import PAGE, WEIGHTS, Open
from tests.support.ui import open_app


@pytest.fixture
def open_lab(monkeypatch: pytest.MonkeyPatch, store: RunStore, jobs: Jobs, tmp_path: Path) -> Open:
    """Open the page on a section, with recorded answers and installed models."""

    def open_page(
        section: str,
        prompts: Sequence[RoutedPrompt] = (),
        *,
        weights: dict[str, str] | None = WEIGHTS,
        installed: dict[str, str] | None = None,
        scripted: FakeLabEngine | None = None,
    ) -> AppTest:
        folder = tmp_path / "pairs"
        folder.mkdir(exist_ok=True)
        if prompts:
            write_prompts(folder / "mixed.jsonl", prompts)
            (folder / "mixed.json").write_text(json.dumps({"title": "Mixed", "weights_sha256": weights or {}}))
        here = {"small": "a" * 64, "large": "b" * 64} if installed is None else installed
        models = [
            SimpleNamespace(
                name=name,
                title=name,
                installed=True,
                in_catalog=False,
                problem=None,
                parameters=size,
                context_length=2_048,
            )
            for size, name in enumerate(here, start=1)
        ]
        lab = RouterLab(store, folder)
        monkeypatch.setattr(engine_package, "list_models", lambda _: models)
        for module in (router_record, router_judge):
            monkeypatch.setattr(module, "list_models", lambda _: models)
        for module in (router_profiles, router_record, router_recorded, router_judge):
            monkeypatch.setattr(module, "installed_weights", lambda model, _: here.get(model))
        monkeypatch.setattr(resources, "get_jobs", lambda: jobs)
        monkeypatch.setattr(resources, "get_router_lab", lambda: lab)
        place = {"step": section} if section in list(Step) else {"step": "choose", "router-section": section}
        return open_app(monkeypatch, store, PAGE, place, engine=scripted or FakeLabEngine())

    return open_page
