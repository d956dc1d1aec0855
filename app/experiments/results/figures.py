"""What each configuration of an experiment came to by itself: scores, percentiles of times, memory, throughput."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from app.costs.energy import Energy, estimated_energy
from app.costs.running import Served
from app.experiments.results.arrays import Bools, Floats, Measure, Results
from app.experiments.results.divergence import Kld, kld_of
from app.store import Cell, Pass
from engine.types import Tier, is_shared

PERCENTILES = (50, 95)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds over prompts; ``None`` where nothing was timed."""

    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, seconds: Floats) -> Times:
        """Of some prompts, NaN where one was not timed."""
        known = seconds[np.isfinite(seconds)]
        return cls(*map(float, np.percentile(known, PERCENTILES))) if len(known) else cls(None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one configuration, on some of the prompts."""

    name: str
    server: str | None
    """The server's model that answers all of it; ``None`` where models of this machine take part."""
    has_server: bool
    """Whether a server's model takes part, whose time is not this machine's."""
    prompts: int
    """Answered for quality, failures among them."""
    failed: int
    score: float | None
    """Mean, 0 to 1; a failure counts as 0. ``None`` where nothing was scored."""
    e2e: Times
    ttft: Times
    tpot: Times
    weights_bytes: float | None
    kv_bytes: float | None
    disturbed: int
    """Prompts whose times are of disturbed runs alone."""
    kld: Kld | str
    """From the 16-bit baseline, or why it was not measured, in a sentence."""
    energy: Energy | None
    """Measured: of a request with the engine to itself, as the machine counts it; ``None`` where it does not."""
    alone: Served | None
    """Requests like these, one after the other."""
    together: Served | None
    """Requests like these, several at once, as in the quality pass."""

    def request_energy(self, served: Served, watts: float | None) -> Energy | None:
        """Of one request: as the machine counted it where it was answered alone, else estimated. A pass that is shared
        is nobody's own, so nothing is counted there; what a server takes is not known.

        Args:
            served: :attr:`alone` or :attr:`together`.
            watts: the machine's stated power; ``None`` leaves unknown what was not counted.

        Raises:
            CostsError: the power is no number of 0 or more.
        """
        if self.has_server:
            return None
        if self.energy is not None and served is self.alone:
            return self.energy
        return None if watts is None else estimated_energy(watts, served.machine_s)


def figures_of(results: Results, measure: Measure | None, among: Bools) -> tuple[Figures, ...]:
    """A configuration each.

    Args:
        results: of the experiment.
        measure: what a score is; ``None`` without any.
        among: the prompts that are looked at, ``[prompts]``.
    """
    scores = results.scores(measure) if measure else None
    cells = _by_configuration(results, among)
    ladders = [each.config.ladder for each in results.design.configurations]
    return tuple(
        Figures(
            name=name,
            server=_server(ladders[place]),
            has_server=any(tier.is_remote for tier in ladders[place]),
            prompts=int((results.answered_by(place) & among).sum()),
            failed=int((results.failed[place] & among).sum()),
            score=None if scores is None else _mean(scores[place][among]),
            e2e=Times.of(results.e2e_s[place][among]),
            ttft=Times.of(results.ttft_s[place][among]),
            tpot=Times.of(results.tpot_s[place][among]),
            weights_bytes=_mean(results.weights_bytes[place][among]),
            kv_bytes=_mean(results.kv_bytes[place][among]),
            disturbed=int((results.disturbed[place] & among).sum()),
            kld=kld_of(results, place, among),
            energy=_energy(_mean(results.energy_j[place][among]), cells[place]),
            alone=_served([cell for cell in cells[place] if cell.key.kind is Pass.SPEED], at_once=False),
            together=_served([cell for cell in cells[place] if cell.key.kind is Pass.QUALITY], at_once=True),
        )
        for place, name in enumerate(results.names)
    )


def _server(ladder: Sequence[Tier]) -> str | None:
    return ladder[0].model if len(ladder) == 1 and ladder[0].is_remote else None


def _by_configuration(results: Results, among: Bools) -> list[list[Cell]]:
    wanted = {id for id, here in zip(results.prompt_ids, among, strict=True) if here}
    found: list[list[Cell]] = [[] for _ in results.names]
    for cell in results.cells:
        if cell.key.prompt_id in wanted and not cell.failed:
            found[cell.key.configuration].append(cell)
    return found


def _served(cells: Sequence[Cell], *, at_once: bool) -> Served | None:
    """How answers were given; ``None`` where none has figures, or those that were to be together were not."""
    known = [cell for cell in cells if cell.e2e_s and cell.completion_tokens and cell.prompt_tokens is not None]
    if at_once:
        known = [cell for cell in known if is_shared(cell.mean_batch_size)]
    if not known:
        return None

    def mean(read: Callable[[Cell], float | None]) -> float:
        return fmean(float(read(cell) or 0.0) for cell in known)

    return Served(
        prompt_tokens=mean(lambda cell: cell.prompt_tokens),
        completion_tokens=mean(lambda cell: cell.completion_tokens),
        cached_tokens=mean(lambda cell: cell.cached_tokens),
        e2e_s=mean(lambda cell: cell.e2e_s),
        at_once=max(1.0, mean(lambda cell: cell.mean_batch_size)) if at_once else 1.0,
    )


def _energy(joules: float | None, cells: Sequence[Cell]) -> Energy | None:
    """A mean that was counted, with what counted it."""
    if joules is None:
        return None
    counters = dict.fromkeys(cell.energy_by for cell in cells if cell.energy_by)
    return Energy(joules, " and ".join(counters), measured=True)


def _mean(values: Floats) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None
