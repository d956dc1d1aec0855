"""An engine that knows servers, and no models of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine
from tests.support.remotes import Servers


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """No server yet; see :meth:`Servers.add`."""
    known = Servers()
    known.engine = Engine(tmp_path, remote_models=known.find)
    yield known
    known.engine.close()
