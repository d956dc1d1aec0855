"""The degradation alarm: whether a precision changes a model's answers more than somebody allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import units
from app.store import AlarmLimits, CorpusResult, LabStore
from engine.types import Backend, GearKind, Precision


@dataclass(frozen=True, slots=True)
class Alarm:
    """A precision is beyond the limits."""

    reasons: tuple[str, ...]
    """What is beyond which limit: "KLD mean 0.25 nats (limit 0.15)"."""
    measured_on: str
    """The corpus, or what else it was measured on."""

    def __str__(self) -> str:
        return f"Degradation alarm: {', '.join(self.reasons)}, measured on {self.measured_on}."


def judge_divergence(kld_mean: float, same_top: float, limits: AlarmLimits, *, measured_on: str) -> Alarm | None:
    """The alarm that a mean KLD in nats and a top-1 agreement raise, if they do.

    A KLD that is no number raises it too.
    """
    reasons = []
    if not kld_mean <= limits.kld_mean:
        reasons.append(f"KLD mean {kld_mean:.3g} nats (limit {limits.kld_mean:g})")
    if not same_top >= limits.same_top:
        limit = units.percent(limits.same_top)
        reasons.append(f"top-1 agreement {units.percent(same_top, 1)} (limit {limit})")
    return Alarm(tuple(reasons), measured_on) if reasons else None


def alarms(results: Sequence[CorpusResult], limits: AlarmLimits) -> dict[tuple[str, str], Alarm]:
    """The alarms that finished results raise, by weights hash and precision.

    Where several corpora raise one, the one with the greatest KLD speaks.
    """
    raised: dict[tuple[str, str], Alarm] = {}
    finished = [result for result in results if result.stats]
    for result in sorted(finished, key=lambda result: result.stats.kld_mean if result.stats else 0.0):
        if result.stats:
            alarm = judge_divergence(
                result.stats.kld_mean, result.stats.same_top, limits, measured_on=result.corpus_name
            )
            if alarm:
                raised[result.weights_sha256, result.precision] = alarm
    return raised


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alarms that stand, to look up."""

    by_weights: Mapping[tuple[str, str], Alarm]
    """By weights hash and precision."""
    weights: Mapping[str, str]
    """The weights hash last measured of a model, by its name."""

    @classmethod
    def read(cls, lab: LabStore) -> Alarms:
        """What the lab's results say under the limits set.

        Raises:
            StoreError: the run database cannot be read.
        """
        results = lab.corpus_results()
        newest_last = {result.model: result.weights_sha256 for result in reversed(results)}
        return cls(alarms(results, lab.limits()), newest_last)

    def of_model(self, model: str, backend: str, precision: str) -> Alarm | None:
        """The alarm of a configuration that is about to run."""
        return self._of(self.weights.get(model), backend, precision)

    def of_run(self, environment: Mapping[str, Any], backend: str, precision: str) -> Alarm | None:
        """The alarm of a run, by the weights it was answered with."""
        return self._of(environment.get("weights_sha256"), backend, precision)

    def _of(self, weights_sha256: str | None, backend: str, precision: str) -> Alarm | None:
        quantizes = GearKind.QUANTIZATION in Backend(backend).info.gears
        if weights_sha256 is None or not quantizes or not Precision(precision).info.lossy:
            return None
        return self.by_weights.get((weights_sha256, precision))
