"""The routes of the API: OpenAI's, below /v1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from app.api.answering import Answering
from app.api.calls import Calls
from app.api.errors import ApiError
from app.api.failures import store_failure, unexpected
from app.api.refusals import refusal
from app.api.requests import ChatCall, CompletionCall
from app.api.served import OWNER, Catalogue, Served
from app.store import RunStore, StoreError

_NO_EMBEDDINGS = "Gearbox serves models that write text, and none that makes embeddings."
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": "Refused, in OpenAI's shape of errors.", "content": {"application/json": {}}}
    for status in ("4XX", "5XX")
}


def api(models_dir: Path, store: Callable[[], RunStore], answering: Answering) -> FastAPI:
    """The application to be mounted at /v1.

    Args:
        models_dir: where models are installed.
        store: gives where runs are kept and configurations are saved.
        answering: what makes the answers; whoever made it closes it.
    """
    calls = Calls.of(Catalogue(models_dir, store), answering)
    # its pages of documentation would load scripts from elsewhere
    app = FastAPI(title="Gearbox", docs_url=None, redoc_url=None, responses=_REFUSALS, redirect_slashes=False)
    _tell_errors(app)

    @app.post("/chat/completions")
    async def chat_completions(call: ChatCall, request: Request) -> Response:
        """Answer a conversation, whole or as a stream of events."""
        return await calls.chat(request, call)

    @app.post("/completions")
    async def completions(call: CompletionCall, request: Request) -> Response:
        """Continue a text, whole or as a stream of events."""
        return await calls.complete(request, call)

    @app.get("/models")
    async def models() -> Response:
        """What can answer: the models that are installed, and saved configurations."""
        served = await calls.look_up(calls.catalogue.all)
        return JSONResponse({"object": "list", "data": [_entry(each) for each in served]})

    @app.get("/models/{name:path}")
    async def model(name: str) -> Response:
        """One of them."""
        return JSONResponse(_entry(await calls.look_up(calls.catalogue.find, name)))

    @app.post("/embeddings")
    async def embeddings() -> Response:
        """Refused: no model here makes any."""
        raise ApiError(400, _NO_EMBEDDINGS, code="unsupported_endpoint")

    return app


def _entry(served: Served) -> dict[str, Any]:
    return {"id": served.name, "object": "model", "created": served.created, "owned_by": OWNER}


def _tell_errors(app: FastAPI) -> None:
    """All errors in one shape."""

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refusal(error.errors()).response()

    @app.exception_handler(StoreError)
    async def without_store(request: Request, error: StoreError) -> Response:
        return store_failure(error).response()

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        match error.status_code:
            case 404:
                told = ApiError(404, "There is no such path here.", code="unknown_url")
            case 405:
                told = ApiError(405, f"This path takes no {request.method}.", code="method_not_allowed")
            case _:
                told = ApiError(error.status_code, "The body cannot be read.")
        return JSONResponse(told.body(), told.status, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return unexpected("Unexpected error.").response()
