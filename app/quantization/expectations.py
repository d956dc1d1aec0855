"""What a precision is expected to take and to give, before a run is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.environment import measured_here
from app.store import RunStore, SpeedResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One model at one precision. Figures that nobody knows yet are ``None``."""

    precision: str
    weights_bytes: int | None
    weights_measured: bool
    """Whether the weights were in memory once, or are only reckoned from their shapes."""
    tokens_per_second: float | None
    """Always measured: in the lab, else the median of the latest runs."""


def expectations(
    store: RunStore, model: str, precisions: tuple[str, ...], estimates: Mapping[str, int], device: str
) -> tuple[Expectation, ...]:
    """What is known of a model at some precisions: measured where it was, else estimated.

    Args:
        store: the runs and the lab's results.
        model: its name.
        precisions: in the order wanted.
        estimates: bytes of the weights reckoned from their shapes, by precision.
        device: where the engine runs models (``EngineStatus.device``).

    Raises:
        StoreError: the run database cannot be read.
    """
    in_lab: dict[str, SpeedResult] = {}
    for speed in store.lab.speeds(model):
        if measured_here(speed.environment, device):
            in_lab.setdefault(speed.precision, speed)
    in_runs = store.recent_speeds(model)
    found = []
    for precision in precisions:
        lab, runs = in_lab.get(precision), in_runs.get(precision)
        measured = lab.weights_bytes if lab else runs.weights_bytes if runs else None
        found.append(
            Expectation(
                precision=precision,
                weights_bytes=estimates.get(precision) if measured is None else measured,
                weights_measured=measured is not None,
                tokens_per_second=lab.tokens_per_second if lab else 1 / runs.tpot_s if runs and runs.tpot_s else None,
            )
        )
    return tuple(found)
