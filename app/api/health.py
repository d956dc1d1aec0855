"""Whether the server lives, whether it can answer, and what it has counted: for whatever looks after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.runs.metrics import CONTENT_TYPE, Metrics
from app.store import RunStore, StoreError
from engine import list_models


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
        why = _why_not_ready(models_dir, engine, store)
        return JSONResponse({"status": "not ready", "reason": why}, 503) if why else JSONResponse({"status": "ready"})

    def counted(request: Request) -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", counted)]


def _why_not_ready(models_dir: Path, engine: Callable[[], OpenEngine], store: Callable[[], RunStore]) -> str | None:
    """Why nothing can be answered, ``None`` if it can. Anybody may ask, so it names no files."""
    if not any(model.installed for model in list_models(models_dir)) and not _has_servers(store):
        return "No model is installed."
    if engine().is_closed:
        return "The engine has been shut down."
    try:
        is_lost = store().file_lost is not None
    except StoreError:
        is_lost = True
    return "The run database cannot be used: see the server's log." if is_lost else None


def _has_servers(store: Callable[[], RunStore]) -> bool:
    """Whether a server's model can be asked."""
    try:
        return bool(store().remotes.all())
    except StoreError:
        return False
