"""Imports without Python's cyclic garbage collector, which would go through all that is there again and again while
tens of thousands of objects are made that stay: a quarter of a start.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import libraries while a block runs. Threads that run meanwhile are not collected after either."""
    if not gc.isenabled():  # whoever stopped it starts it again
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def begin_imports() -> None:
    """A process starts, and imports what it is made of."""
    gc.disable()


def imports_done() -> None:
    """It has imported that. Nothing of it is ever gone through: no later collection takes the longer for it."""
    gc.freeze()
    gc.enable()
