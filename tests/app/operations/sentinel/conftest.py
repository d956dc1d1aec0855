"""A store beside an engine that can be changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store import RunStore
from tests.support.golden import Golden, Versions
from tests.support.stores import new_database


@pytest.fixture
def golden(tmp_path: Path) -> Iterator[Golden]:
    """Nothing was picked yet."""
    store = RunStore.open(new_database(tmp_path / "gearbox.db"))
    yield Golden(store, Versions())
    store.close()
