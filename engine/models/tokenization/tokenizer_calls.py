"""Calls into the tokenizers library, whose errors have no class of their own: an Exception, or a panic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from engine.errors import GearboxError, InvalidRequestError

T = TypeVar("T")

_PANICS = "pyo3_runtime"
"""Module of the one exception that a Rust library raises where it gives up; it derives from BaseException."""


def call(function: Callable[..., T], *arguments: Any, **settings: Any) -> T:
    """What ``function`` returns.

    Raises:
        InvalidRequestError: the tokenizer cannot do it: it lacks a token for what it does not know, or its rules fail.
    """
    try:
        return function(*arguments, **settings)
    except (GearboxError, MemoryError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__module__ != _PANICS:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidRequestError(f"This model's tokenizer fails: {reason:.300}.") from error
