"""Gearbox's inference engine: one thread, four gears, measured.

Everything a caller needs is here and in :mod:`engine.types`; importing it loads neither torch nor
transformers. A name is loaded when it is first asked for, so that ``python -m engine``, which imports this
package before its own code, can be interrupted from its first moment on.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("engine.public"), name)
