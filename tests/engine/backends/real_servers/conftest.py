"""Servers that run, each with an engine that asks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine
from engine.types import RemoteModel
from tests.support.model_servers import ALL, GEARBOX, VLLM, ModelServer, Software
from tests.support.real_servers import NAME, Served


@pytest.fixture(scope="session", params=ALL, ids=lambda software: software.name)
def served(
    request: pytest.FixtureRequest, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One after the other of those that are there."""
    software: Software = request.param
    if why := software.why_not():
        pytest.skip(why)
    server = ModelServer(software, models_dir, tmp_path_factory.mktemp("server"))
    server.start()
    model = RemoteModel(
        name=NAME,
        url=f"{server.url}/v1",
        served_name=software.model,
        metrics_url=f"{server.url}/metrics" if software in (VLLM, GEARBOX) else None,
    )
    engine = Engine(models_dir, remote_models={NAME: model}.get)
    try:
        yield Served(server, engine, model)
    finally:
        engine.close()
        server.kill()
