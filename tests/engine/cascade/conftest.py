"""An engine with a model of its own and servers, for ladders of both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine import Engine
from tests.support.remotes import Servers
from tests.support.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """An engine with one random model, told of servers by each test."""
    folder = tmp_path_factory.mktemp("ladder")
    make_tiny_checkpoint(folder / "small", "qwen3", seed=1, max_position_embeddings=8192)
    servers = Servers()
    servers.engine = Engine(folder, remote_models=servers.find)
    yield servers
    servers.engine.close()


@pytest.fixture
def servers(known: Servers) -> Servers:
    known.models.clear()
    return known
