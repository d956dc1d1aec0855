"""What went wrong with an answer, as its client is told."""

from __future__ import annotations

import logging

import engine.errors
from app.api.errors import ApiError
from app.runs.race import LaneRun
from app.store import StoreError
from engine.errors import (
    ContextLengthError,
    DeviceUnavailableError,
    EngineClosedError,
    InsufficientMemoryError,
    InvalidRequestError,
    ModelNotInstalledError,
    UnknownModelError,
)

_log = logging.getLogger(__name__)

_MISSING = (UnknownModelError, ModelNotInstalledError)
_FOR_NOW = (DeviceUnavailableError, EngineClosedError, InsufficientMemoryError)


def failure_of(run: LaneRun) -> ApiError:
    """Why a run that is over gave no answer."""
    if run.error is None:
        return shut_down()
    kind = getattr(engine.errors, run.error_kind or "", None)
    if not isinstance(kind, type):
        return unexpected(run.error)
    prompt = "prompt" if run.request.completion is not None else "messages"
    if issubclass(kind, ContextLengthError):
        return ApiError(400, run.error, param=prompt, code="context_length_exceeded")
    if issubclass(kind, _MISSING):
        return ApiError(404, run.error, param="model", code="model_not_found")
    if issubclass(kind, InvalidRequestError):
        return ApiError(400, run.error)
    return unexpected(run.error, status=503 if issubclass(kind, _FOR_NOW) else 500)


def store_failure(error: StoreError) -> ApiError:
    """The run database cannot be used. Where it lies and why is for the log alone."""
    _log.error("A call of the API could not be answered: %s", error)
    return unexpected("The run database cannot be used now. The server's log says why.", status=503)


def shut_down() -> ApiError:
    """The server ends before the answer is whole."""
    return unexpected("The server is being shut down.", status=503)


def unexpected(message: str, status: int = 500) -> ApiError:
    """Something that is not the client's doing."""
    return ApiError(status, message, type="server_error")
