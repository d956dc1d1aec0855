"""A disk with room, whatever machine the tests run on."""

from __future__ import annotations

import pytest

from tests.support.past_traffic import disk_with_room


@pytest.fixture(autouse=True)
def room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all tests of alerts."""
    disk_with_room(monkeypatch, 40)
