"""The engine as the settings want it."""

from __future__ import annotations

from collections.abc import Callable

from app.settings import Settings
from engine import Engine
from engine.types import RemoteModel


def open_engine(settings: Settings, remote_models: Callable[[str], RemoteModel | None]) -> Engine:
    """Whoever opens it closes it.

    Args:
        settings: of the installation.
        remote_models: finds the models of servers by name, at each request.

    Raises:
        GearboxError: the settings ask for what this machine does not have.
    """
    return Engine(
        settings.models_dir,
        threads=settings.threads,
        model_memory_bytes=settings.model_memory_bytes,
        device=settings.device,
        kv_cache_bytes=settings.kv_cache_bytes,
        verify_cache=settings.verify_cache,
        shared_prompts=settings.shared_prompts,
        remote_models=remote_models,
    )
