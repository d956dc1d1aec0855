"""What single runs differ by on this machine, for whoever shows a speed."""

from __future__ import annotations

from app import resources
from app.runs.verdict import UNMEASURED, Noise
from app.store import StoreError


def machine_noise(*, without: str | None = None) -> Noise:
    """What single runs differ by on this machine; the assumption where the run database cannot be read.

    ``without`` leaves out a group, which is to be judged by it.
    """
    try:
        return Noise.of_machine(resources.get_store(), without=without)
    except StoreError:  # told of elsewhere
        return UNMEASURED
