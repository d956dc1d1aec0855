"""Keys for the small API."""

from __future__ import annotations

import pytest

from tests.support.guarded import Keys


@pytest.fixture
def keys() -> Keys:
    return Keys()
