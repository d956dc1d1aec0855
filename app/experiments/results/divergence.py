"""How far configurations are from the 16-bit baseline along its answers: likeness of the models, not of their texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app import units
from app.experiments.planning.divergence import no_kld
from app.experiments.results.arrays import Bools, Results
from app.experiments.statistics import Grouped, Interval, mean_interval
from app.store import ExperimentState

UNIT = "nats per token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kld:
    """The KLD of one configuration from the 16-bit baseline (DESIGN's vocabulary: Σ p (log p − log q) a token)."""

    mean: float
    """In nats, over all tokens, as the Quantization lab and ``gearbox evaluate`` give it."""
    interval: Interval | None
    """Over prompts, templates together; ``None`` where they show no spread."""
    prompts: int
    tokens: int

    @property
    def value(self) -> str:
        """ "0.0123 nats per token"."""
        return f"{units.divergence(self.mean)} per token"

    @property
    def range(self) -> str:
        """Its 95 % interval, in nats; empty where there is none."""
        if self.interval is None:
            return ""
        low, high = (units.divergence(max(0.0, end)) for end in (self.interval.low, self.interval.high))
        return f"{low.removesuffix(' nats')} to {high.removesuffix(' nats')}"

    @property
    def text(self) -> str:
        """One sentence."""
        sure = f" ({self.range}, {units.percent(self.interval.level)})" if self.interval else ""
        return (
            f"KLD from 16 bits is {self.value}{sure} along the baseline's answers to "
            f"{units.counted(self.prompts, 'prompt')}: how alike the two models are, not how good."
        )


def kld_of(results: Results, place: int, among: Bools) -> Kld | str:
    """Of one configuration on some prompts, ``[prompts]``, or why there is none, in a sentence."""
    if (why := no_kld(results.design, place)) is not None:
        return why
    nats, tokens = results.kld_nats[place], results.kld_tokens[place]
    known = among & np.isfinite(nats) & (tokens > 0)
    if not known.any():
        return _why_not(results, place)
    grouped = Grouped.pooled(nats[known], tokens[known], np.array(results.groups)[known])
    return Kld(
        mean=grouped.mean,
        interval=mean_interval(grouped),
        prompts=int(known.sum()),
        tokens=int(tokens[known].sum()),
    )


def _why_not(results: Results, place: int) -> str:
    """What kept it from being measured, where it could have been."""
    reasons = (cell.no_kld for cell in results.scored_cells if cell.key.configuration == place)
    if (tried := next(filter(None, reasons), None)) is not None:
        return tried
    if results.kept.state is ExperimentState.DONE:
        return "It was not measured: experiments that are older, and those of an autopilot, have none."
    return "It is measured once all answers are there."
