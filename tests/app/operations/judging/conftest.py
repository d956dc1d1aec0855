"""A store with traffic, and judges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store import RunStore
from tests.support.judging_desk import Desk
from tests.support.stores import new_database


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = RunStore.open(new_database(tmp_path / "gearbox.db"))
    yield Desk(store)
    store.close()
