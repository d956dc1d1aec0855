"""Models of a pool, for tests that wait for them."""

from __future__ import annotations

from engine.backends.base import LoadedModel, OpenCheckpoint
from engine.models.sources.progress import silent
from engine.passes import perform_alone
from engine.serving.memory.pool import ModelPool
from engine.types import RunConfig


def open_model(pool: ModelPool, model: str) -> OpenCheckpoint:
    """A model's small files."""
    return perform_alone(pool.open(model, silent))


def load_model(pool: ModelPool, run: RunConfig) -> LoadedModel:
    """A model in memory, as a configuration wants it."""
    opened = open_model(pool, run.model)
    with pool.residents.hold() as hold:
        return perform_alone(pool.acquire(opened, run, silent, hold))
