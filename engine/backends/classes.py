"""One class for each backend that runs models on this machine."""

from __future__ import annotations

from typing import assert_never

from engine.backends.base import LoadedModel
from engine.backends.local import LocalModel
from engine.backends.reference import ReferenceModel
from engine.errors import InvalidRequestError
from engine.types import Backend


def model_class(backend: Backend) -> type[LoadedModel]:
    """What a backend's models are.

    Raises:
        InvalidRequestError: they are not on this machine.
    """
    match backend:
        case Backend.LOCAL:
            return LocalModel
        case Backend.REFERENCE:
            return ReferenceModel
        case Backend.REMOTE:
            raise InvalidRequestError("A server's model is not loaded on this machine.")
        case _:
            assert_never(backend)
