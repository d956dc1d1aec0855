"""What is known of this machine, for what models would be on it."""

from __future__ import annotations

import os
from pathlib import Path

from app.background.computed import Computed
from app.background.jobs import Jobs, JobState, Report
from app.estimates import answer_times
from app.models.expected import Machine, MeasuredPace
from app.quantization.estimates import WeightEstimates
from app.store import RunStore
from engine import EngineStatus, list_models, measure_bandwidth, room_for_models

_BANDWIDTH = "memory bandwidth"


class MachineFacts:
    """Gathers them. Memory's bandwidth is measured once, when the engine has nothing to do. Safe to use from any
    thread."""

    def __init__(self, jobs: Jobs, models_dir: Path, estimates: WeightEstimates, threads: int | None = None) -> None:
        """
        Args:
            jobs: what measures.
            models_dir: where models are.
            estimates: what those that are here take.
            threads: that the engine computes with; by default all there are.
        """
        self._models_dir = models_dir
        self._estimates = estimates
        self._threads = threads or _cores()
        self._bandwidth: Computed[float | None] = Computed(jobs, most=1)

    def now(self, store: RunStore, status: EngineStatus, *, on_gpu: bool) -> Machine:
        """What is known at this moment; asked again once more of it has been worked out, it tells that too.

        Args:
            store: what was measured.
            status: the engine's.
            on_gpu: whether models will run on a GPU, also where none has yet.

        Raises:
            StoreError: the run database cannot be read.
        """
        if on_gpu and status.device == "cpu":
            return Machine()  # nothing is known of a GPU before the first request
        resident = sum(model.weights_bytes for model in status.resident)  # they give way to another one
        bandwidth, is_measured = (None, True) if on_gpu else self._read(status)
        return Machine(
            room_bytes=room_for_models(status.device) + resident,
            bandwidth=bandwidth,
            paces=self._paces(store, status.device),
            is_settled=is_measured,
        )

    def _read(self, status: EngineStatus) -> tuple[float | None, bool]:
        """Memory's bandwidth, as far as it is known, and whether it will not be known better in a moment."""
        if status.running and self._bandwidth.value(_BANDWIDTH) is None:
            return None, True
        asked = self._bandwidth.ask(_BANDWIDTH, self._measure)
        return (None, not asked.running) if isinstance(asked, JobState) else (asked, True)

    def _measure(self, report: Report) -> float | None:
        report("Measuring how fast memory is read", 0.0)
        return measure_bandwidth(self._threads)

    def _paces(self, store: RunStore, device: str) -> list[MeasuredPace]:
        found = []
        for model in list_models(self._models_dir):
            times = answer_times(store, model.name, device) if model.installed else {}
            weights = (self._estimates.weights_of(model.name) if times else None) or {}
            found += [
                MeasuredPace(model.name, precision, time.step_s, weights[precision].bytes_a_token)
                for precision, time in times.items()
                if precision in weights and time.step_s > 0
            ]
        return found


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
