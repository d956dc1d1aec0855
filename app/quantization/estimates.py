"""Estimates of the memory that models take, made in the background and kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.background.computed import Computed
from app.background.jobs import Jobs, JobState, Report
from engine import WeightsEstimate, estimate_weights
from engine.types import DeviceChoice


class WeightEstimates:
    """Reckons what each precision of a model takes, once for each model. Safe to use from any thread."""

    def __init__(self, models_dir: Path, jobs: Jobs, device: DeviceChoice = DeviceChoice.AUTO) -> None:
        self._models_dir = models_dir
        self._device = device
        self._computed: Computed[Mapping[str, WeightsEstimate]] = Computed(jobs)

    def of(self, model: str) -> Mapping[str, int] | None:
        """Bytes by precision; ``None`` while they are worked out. Empty where they cannot be."""
        found = self.weights_of(model)
        return None if found is None else {precision: each.bytes for precision, each in found.items()}

    def weights_of(self, model: str) -> Mapping[str, WeightsEstimate] | None:
        """What weights take, and what a token reads of them, by precision; otherwise as :meth:`of`."""

        def compute(_report: Report) -> Mapping[str, WeightsEstimate]:
            return dict(estimate_weights(model, self._models_dir, self._device).items())

        # a model that was not there may have been installed since
        here = (self._models_dir / model).exists()
        found = self._computed.ask(f"estimate {model}, {'here' if here else 'not here'}", compute)
        if isinstance(found, JobState):
            return None if found.running else {}
        return found
