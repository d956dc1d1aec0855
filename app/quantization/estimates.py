"""Estimates of the memory that models take, made in the background and kept."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from app.jobs import Jobs, Report
from engine import estimate_weights
from engine.types import DeviceChoice


class WeightEstimates:
    """Reckons what each precision of a model takes, once for each model. Safe to use from any thread."""

    def __init__(self, models_dir: Path, jobs: Jobs, device: DeviceChoice = DeviceChoice.AUTO) -> None:
        self._models_dir = models_dir
        self._jobs = jobs
        self._device = device
        self._known: dict[str, Mapping[str, int]] = {}

    def of(self, model: str) -> Mapping[str, int] | None:
        """Bytes by precision; ``None`` while they are worked out. Empty where they cannot be."""
        if model in self._known:
            return self._known[model]
        # a model that was not there may have been installed since
        key = f"estimate {model}, {'here' if (self._models_dir / model).exists() else 'not here'}"
        job = self._jobs.state(key)
        if job is None:
            self._jobs.submit(key, partial(self._work, model))
        elif not job.running:
            return self._known.get(model, {})
        return None

    def _work(self, model: str, _report: Report) -> None:
        self._known[model] = dict(estimate_weights(model, self._models_dir, self._device).items())
