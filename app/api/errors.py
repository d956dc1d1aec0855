"""Refusals in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


class ApiError(Exception):
    """A call that is refused, or that failed, as its client is told.

    Args:
        status: of the HTTP answer.
        message: for whoever reads it; it never repeats a prompt, an answer or a key.
        type: OpenAI's class of error.
        code: OpenAI's name of this very error, where it has one.
        param: the field that is meant, as ``messages[0].content``.
        headers: sent with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.headers = headers

    def body(self) -> dict[str, dict[str, str | None]]:
        """As plain JSON values."""
        return {"error": {"message": str(self), "type": self.type, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """As an HTTP answer."""
        return JSONResponse(self.body(), self.status, dict(self.headers or {}))


def error_response(
    status: int,
    message: str,
    type: str,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error in OpenAI's shape."""
    return ApiError(status, message, type=type, code=code, param=param, headers=headers).response()
