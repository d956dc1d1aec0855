"""What a run uses of the machine's energy, where the machine counts it."""

from __future__ import annotations

from app.costs.energy import Energy, EnergyMeter, find_counters
from app.runs.live_run import LiveRun, Phase
from app.runs.together import Watch

_AT_WORK = (Phase.READING, Phase.WRITING)


class Metered:
    """Watches a run that has the engine to itself, and counts from the moment that its prompt is read to its end: what
    others used while it waited is not its own."""

    def __init__(self, watch: Watch) -> None:
        """
        Args:
            watch: told of the run as well; what it raises ends the run.
        """
        self._watch = watch
        self._meter: EnergyMeter | None = None
        self.energy: Energy | None = None
        """Of the whole run; ``None`` before its end, and where nothing counts it."""

    def __call__(self, run: LiveRun) -> None:
        if run.phase is Phase.OVER:
            if self._meter and self.energy is None:
                self.energy = self._meter.end()
        elif self._meter is None and run.phase in _AT_WORK and (counters := find_counters()):
            self._meter = EnergyMeter(counters)
        self._watch(run)
