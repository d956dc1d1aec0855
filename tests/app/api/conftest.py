"""The API with the real engine, and with a scripted one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.store import RunStore
from engine import Engine
from tests.support.api import serving
from tests.support.fakes import FakeEngine


@pytest.fixture
def client(engine: Engine, store: RunStore, models_dir: Path) -> Iterator[TestClient]:
    """A client of the API with the real engine."""
    with serving(engine, store, models_dir) as app, TestClient(app) as client:
        yield client


@pytest.fixture
def fake_engine() -> FakeEngine:
    """A scripted engine."""
    return FakeEngine()


@pytest.fixture
def fake_client(fake_engine: FakeEngine, store: RunStore, models_dir: Path) -> Iterator[TestClient]:
    """A client of the API with the scripted engine."""
    with serving(fake_engine, store, models_dir) as app, TestClient(app) as client:
        yield client
