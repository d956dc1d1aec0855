"""Who runs a model: one class a backend. What each can do stands in :attr:`engine.types.Backend.info`."""

from __future__ import annotations

from typing import assert_never

from engine.backends.base import LoadedModel
from engine.backends.local import LocalModel
from engine.backends.reference import ReferenceModel
from engine.types import Backend


def model_class(backend: Backend) -> type[LoadedModel]:
    """What a backend's models are."""
    match backend:
        case Backend.LOCAL:
            return LocalModel
        case Backend.REFERENCE:
            return ReferenceModel
        case _:
            assert_never(backend)
