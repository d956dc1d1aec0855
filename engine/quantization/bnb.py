"""bitsandbytes, imported when it is first needed."""

from __future__ import annotations

import logging
from typing import Any


def bitsandbytes() -> Any:
    """``bitsandbytes.functional``, imported without its advice to install a package that it would
    fetch a kernel with."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from bitsandbytes import functional

    return functional
