"""What a cost is reckoned from, checked in the words of whoever enters it."""

from __future__ import annotations

import math

from engine.errors import GearboxError


class CostsError(GearboxError):
    """A figure that costs are reckoned from cannot be."""


def check_amount(name: str, value: float, *, least: float = 0.0, most: float = math.inf) -> None:
    """Refuse what is no finite number from ``least`` to ``most``.

    Raises:
        CostsError: it is none; the message names it.
    """
    if math.isfinite(value) and least <= value <= most:
        return
    limits = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of {least:g} or more"
    raise CostsError(f"{name} must be a number {limits}, not {value:g}.")


def check_positive(name: str, value: float) -> None:
    """Refuse what is no finite number above 0.

    Raises:
        CostsError: it is none; the message names it.
    """
    if not (math.isfinite(value) and value > 0):
        raise CostsError(f"{name} must be a number above 0, not {value:g}.")
