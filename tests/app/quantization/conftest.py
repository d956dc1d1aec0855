"""The lab's store."""

from __future__ import annotations

import pytest

from app.store import LabStore, RunStore


@pytest.fixture
def lab(store: RunStore) -> LabStore:
    return store.lab
