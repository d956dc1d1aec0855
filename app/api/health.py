"""Whether the server lives, whether it can answer, and what it has counted: for whatever looks after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.runs.metrics import CONTENT_TYPE, Metrics
from app.store import RunStore
from engine import list_models
from engine.errors import GearboxError


class OpenEngine(Protocol):
    """What is asked of an engine."""

    @property
    def is_closed(self) -> bool: ...


def health_routes(
    models_dir: Path, engine: Callable[[], OpenEngine], store: Callable[[], RunStore], metrics: Metrics
) -> list[Route]:
    """``/healthz``, ``/readyz`` and ``/metrics``.

    Args:
        models_dir: where models are installed.
        engine: gives who answers.
        store: gives what keeps the runs.
        metrics: what was counted.
    """

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    def readyz(request: Request) -> Response:
        why, models = _why_not_ready(models_dir, engine, store)
        if why is None:
            return JSONResponse({"status": "ready", "models": models})
        return JSONResponse({"status": "not ready", "reason": why}, 503)

    def counted(request: Request) -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", counted)]


def _why_not_ready(
    models_dir: Path, engine: Callable[[], OpenEngine], store: Callable[[], RunStore]
) -> tuple[str | None, list[str]]:
    """Why nothing can be answered, ``None`` if it can; and the models that are installed."""
    try:
        models = [model.name for model in list_models(models_dir) if model.installed]
        if not models:
            return "No model is installed.", []
        if engine().is_closed:
            return "The engine has been shut down.", []
        if lost := store().file_lost:
            return lost, []
    except GearboxError as error:
        return str(error), []
    return None, models
