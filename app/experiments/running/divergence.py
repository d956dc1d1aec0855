"""How far candidates are from the 16-bit baseline along its answers: each is read again by the 16-bit model, once for
all candidates, and by each of them. The figures are those of the Quantization lab and of ``gearbox evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from app.background.jobs import Steps
from app.experiments.planning.design import Design
from app.experiments.planning.divergence import compared_cells
from app.store import Cell, CellKey, RunStore
from engine import DivergenceStats, Task, WindowDivergence
from engine.errors import InsufficientMemoryError, InvalidRequestError, NonFiniteLogitsError
from engine.types import GenerationRequest, OptimizationConfig

_IN_THE_WAY = (InsufficientMemoryError, InvalidRequestError, NonFiniteLogitsError)
"""What keeps a figure from being there, and nothing else from going on."""
_NOT_ANSWERED = "The baseline has no answer to it."
_DELETED = "The run of the baseline's answer was deleted."
_EMPTY = "The baseline's answer is empty."


class ComparingEngine(Protocol):
    """What is needed of an engine; see `engine.Engine`."""

    def compare_candidates(
        self,
        request: GenerationRequest,
        token_ids: Sequence[int],
        candidates: Sequence[OptimizationConfig],
        progress: Callable[[str, float], None] = ...,
    ) -> tuple[WindowDivergence, ...]: ...


def is_settled(cell: Cell | None) -> bool:
    """Whether no more is to be measured of an answer that is there."""
    return cell is not None and (cell.failed or cell.kld is not None or cell.no_kld is not None)


def asked_again(design: Design, done: Mapping[CellKey, Cell]) -> dict[CellKey, Cell]:
    """What is kept of an experiment, some of whose answers are not there because they are asked again: what is measured
    along one of the baseline's is then measured again too."""
    along = {key: answer for answer, cells in compared_cells(design).items() for key in cells}
    return {
        key: cell if along.get(key, key) in done else replace(cell, kld=None, kld_tokens=None, no_kld=None)
        for key, cell in done.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """What is still to be measured of an experiment whose answers are there."""

    engine: ComparingEngine
    store: RunStore
    experiment_id: str
    design: Design
    tasks: Mapping[str, Task]
    """Its prompts, by id."""
    done: dict[CellKey, Cell]
    """What is kept of it, renewed as figures come."""
    steps: Steps

    @property
    def is_over(self) -> bool:
        """Whether nothing is missing."""
        return all(is_settled(self.done.get(key)) for cells in compared_cells(self.design).values() for key in cells)

    def run(self) -> None:
        """Measure what is missing, and keep each figure with its cell.

        Raises:
            GearboxError: whatever keeps the engine or the store from it.
            JobCancelled: from the steps.
        """
        self._measure(range(len(self.design.configurations)))

    def _measure(self, places: Collection[int]) -> None:
        """Of some configurations, all of which are in memory at once. Where that cannot be, or one of them is broken,
        one after the other."""
        answers = compared_cells(self.design)
        for number, (answer, cells) in enumerate(answers.items(), 1):
            missing = [key for key in cells if key.configuration in places and not is_settled(self.done.get(key))]
            if not missing:
                continue
            self.steps.at(f"KLD from 16 bits · answer {number:,} of {len(answers):,}")
            try:
                self._read(answer, missing)
            except _IN_THE_WAY as error:
                if len(missing) > 1:
                    for place in places:
                        self._measure([place])
                    return
                self._keep(missing[0], no_kld=str(error))

    def _read(self, answer: CellKey, missing: Sequence[CellKey]) -> None:
        """One of the baseline's answers, read by the candidates of some cells."""
        token_ids = self._token_ids(answer)
        if isinstance(token_ids, str):
            for key in missing:
                self._keep(key, no_kld=token_ids)
            return
        task = self.tasks[answer.prompt_id]
        candidates = [self.design.configurations[key.configuration].config.optimization for key in missing]
        request = self.design.request(answer, task, self.experiment_id)
        found = self.engine.compare_candidates(request, token_ids, candidates, self.steps.loading)
        for key, tokens in zip(missing, found, strict=True):
            self._keep(key, kld=DivergenceStats.from_tokens(tokens).kld_mean, kld_tokens=len(tokens))

    def _token_ids(self, answer: CellKey) -> tuple[int, ...] | str:
        """Of one of the baseline's answers, or why there are none."""
        cell = self.done[answer]
        if cell.failed:
            return _NOT_ANSWERED
        timeline = self.store.timeline(cell.run_id) if cell.run_id else None
        if timeline is None:
            return _EMPTY if cell.run_id and cell.completion_tokens == 0 else _DELETED
        return timeline.token_ids or _EMPTY

    def _keep(
        self, key: CellKey, *, kld: float | None = None, kld_tokens: int | None = None, no_kld: str | None = None
    ) -> None:
        cell = replace(self.done[key], kld=kld, kld_tokens=kld_tokens, no_kld=no_kld)
        self.store.experiments.keep_cell(self.experiment_id, cell)
        self.done[key] = cell
        self.steps.advance()
