"""An experiment's cells as arrays: configurations × prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.experiments.planning.design import Design
from app.experiments.planning.scoring import has_checker
from app.store import Cell, KeptExperiment, Pass, RunStore

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


class Measure(StrEnum):
    """What a score is, in the words in which it is shown."""

    CHECKER = "right by its checker"
    JUDGE = "as a model judges"
    WORD_F1 = "word F1 to the baseline's answer"
    SAME_TEXT = "same text as the baseline's"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What a judge says of all answers, and whether to believe it."""

    judge: str
    """Who, for the user."""
    pairwise: bool
    """Whether it compared answers with the baseline's instead of grading each."""
    scores: Floats
    """[configurations, prompts], 0 to 1, a failure 0; NaN without a verdict. Pairwise: the share of the two orders in
    which the answer was preferred to the baseline's, 0.5 for the baseline itself."""
    concerns: tuple[str, ...]
    """In what it fails its audit, a clause each; none if it passes."""
    cautions: tuple[str, ...]
    """What its audit cannot tell, a sentence each."""

    @property
    def audit(self) -> str:
        """What its audit comes to: told wherever its scores are."""
        found = f"fails its audit: {'; '.join(self.concerns)}" if self.concerns else "passes its audit"
        return " ".join([f"The judge {found}.", *self.cautions])


_SCORES: Mapping[Measure, Callable[[Cell], float | None]] = {
    Measure.CHECKER: lambda cell: cell.score,
    Measure.WORD_F1: lambda cell: cell.word_f1,
    Measure.SAME_TEXT: lambda cell: None if cell.same_text is None else float(cell.same_text),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Results:
    """What an experiment has come to so far. Arrays are [configurations, prompts]; NaN is what is not there."""

    kept: KeptExperiment
    design: Design
    prompt_ids: tuple[str, ...]
    categories: tuple[str, ...]
    """Of each prompt."""
    groups: tuple[str, ...]
    """Of each prompt: those of one template are no independent draws."""
    cells: tuple[Cell, ...]
    failed: Bools
    """Prompts that a configuration could not answer, in whatever pass."""
    not_answered: Floats
    """Share of a prompt's answers for quality that are failures; NaN before there is one."""
    kld_nats: Floats
    """KLD from 16 bits, a sum over the tokens of the baseline's answers."""
    kld_tokens: Floats
    """So many tokens."""
    e2e_s: Floats
    """Seconds of the speed pass, a mean over repeats: of those that were not disturbed, or where there are no others
    of all. Likewise below."""
    ttft_s: Floats
    tpot_s: Floats
    weights_bytes: Floats
    kv_bytes: Floats
    completion_tokens: Floats
    energy_j: Floats
    """Joules that the machine counted."""
    disturbed: Bools
    """Whether a prompt's times are of disturbed runs alone."""
    judged: Judged | None = None
    """What the judge says that counts; ``None`` where none was asked."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the configurations."""
        return tuple(each.name for each in self.design.configurations)

    def scores(self, measure: Measure) -> Floats:
        """Mean over repeats, 0 to 1; a failure counts as 0. NaN where there is no answer yet, the checker could not
        tell, or the prompt is not measured so (:meth:`applies`)."""
        if measure is Measure.JUDGE:
            found = np.full(self.failed.shape, np.nan) if self.judged is None else self.judged.scores.copy()
        else:
            found = self.fold(lambda cell: 0.0 if cell.failed else _SCORES[measure](cell))
        found[:, ~self.applies(measure)] = np.nan
        return found

    def applies(self, measure: Measure) -> Bools:
        """Which prompts are scored by it, ``[prompts]``: their checker scores those that have one, a judge or likeness
        to the baseline's answer the others."""
        checked = np.array([has_checker(task) for task in self.design.prompts])
        return checked if measure is Measure.CHECKER else ~checked

    def answered_by(self, *places: int) -> Bools:
        """Which prompts all of some configurations have answered for quality, or failed on, ``[prompts]``. Only these
        can be compared while an experiment is under way."""
        return np.logical_not(np.isnan(self.not_answered[list(places)]).any(axis=0))

    def against_baseline(
        self, place: int, figures: Floats, which: Bools
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Floats, Floats]:
        """Ids, groups and categories of some prompts, and a figure of the baseline and of another configuration, each
        ``[prompts]``: what a paired comparison needs.

        Args:
            place: of the other configuration.
            figures: ``[configurations, prompts]``: scores, or seconds.
            which: the prompts that are compared, ``[prompts]``.
        """
        columns = np.flatnonzero(which)
        names = (self.prompt_ids, self.groups, self.categories)
        ids, groups, categories = (tuple(each[column] for column in columns) for each in names)
        return ids, groups, categories, figures[self.design.baseline, columns], figures[place, columns]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Those of which there are scores."""
        return tuple(measure for measure in Measure if not np.isnan(self.scores(measure)).all())

    @property
    def texts_sha256(self) -> NDArray[np.object_]:
        """The hash of each prompt's first answer; "" where there is none."""
        found = np.full(self.failed.shape, "", dtype=object)
        columns = _columns(self.prompt_ids)
        for cell in self.scored_cells:
            if cell.key.repeat == 0:
                found[cell.key.configuration, columns[cell.key.prompt_id]] = cell.answer_sha256 or ""
        return found

    def run_ids(self, place: int, kind: Pass) -> dict[str, str]:
        """A configuration's first run of each prompt, by the prompt's id; without those that were deleted."""
        return {
            cell.key.prompt_id: cell.run_id
            for cell in self.cells
            if cell.run_id and (cell.key.configuration, cell.key.kind, cell.key.repeat) == (place, kind, 0)
        }

    @property
    def scored_cells(self) -> list[Cell]:
        """The cells whose texts count."""
        kind = Pass.QUALITY if Pass.QUALITY in self.design.passes else Pass.SPEED
        return [cell for cell in self.cells if cell.key.kind is kind]

    def fold(self, figure: Callable[[Cell], float | None]) -> Floats:
        """The mean of a figure over the repeats of the cells whose texts count, those without it left out;
        ``[configurations, prompts]``."""
        return _fold(self.scored_cells, figure, self.failed.shape, _columns(self.prompt_ids))


def read_results(store: RunStore, experiment_id: str) -> Results:
    """What an experiment has come to, without reading any of its runs.

    Raises:
        GoneError: there is no such experiment that the viewer may see.
        StoreError: the database cannot be read.
    """
    kept = store.experiments.get(experiment_id)
    prompts = store.experiments.prompts(experiment_id)
    return results_of(kept, Design.from_dict(kept.design, prompts), store.experiments.cells(experiment_id))


def results_of(kept: KeptExperiment, design: Design, cells: Sequence[Cell]) -> Results:
    """The arrays of some cells."""
    prompts = design.prompts
    shape, columns = (len(design.configurations), len(prompts)), _columns([task.id for task in prompts])
    timed = [cell for cell in cells if cell.key.kind is Pass.SPEED and not cell.failed]
    quiet = [cell for cell in timed if not cell.disturbed]
    quiet_at = {(cell.key.configuration, cell.key.prompt_id) for cell in quiet}
    rest = [cell for cell in timed if (cell.key.configuration, cell.key.prompt_id) not in quiet_at]
    counted = [*quiet, *rest]

    def times(figure: Callable[[Cell], float | None]) -> Floats:
        return _fold(counted, figure, shape, columns)

    failed, disturbed = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    for cell in cells:
        failed[cell.key.configuration, columns[cell.key.prompt_id]] |= cell.failed
    for cell in rest:
        disturbed[cell.key.configuration, columns[cell.key.prompt_id]] = True
    kind = Pass.QUALITY if Pass.QUALITY in design.passes else Pass.SPEED
    answers = [cell for cell in cells if cell.key.kind is kind]
    return Results(
        kept=kept,
        design=design,
        prompt_ids=tuple(task.id for task in prompts),
        categories=tuple(task.category for task in prompts),
        groups=tuple(task.template or task.id for task in prompts),
        cells=tuple(cells),
        failed=failed,
        not_answered=_fold(answers, lambda cell: float(cell.failed), shape, columns),
        kld_nats=_fold(answers, _kld_nats, shape, columns),
        kld_tokens=_fold(answers, lambda cell: None if cell.kld is None else cell.kld_tokens, shape, columns),
        e2e_s=times(lambda cell: cell.e2e_s),
        ttft_s=times(lambda cell: cell.ttft_s),
        tpot_s=times(lambda cell: cell.tpot_s),
        weights_bytes=times(lambda cell: cell.weights_bytes),
        kv_bytes=times(lambda cell: cell.kv_bytes),
        completion_tokens=times(lambda cell: cell.completion_tokens),
        energy_j=times(lambda cell: cell.energy_j),
        disturbed=disturbed,
    )


def _fold(
    cells: Sequence[Cell],
    figure: Callable[[Cell], float | None],
    shape: tuple[int, ...],
    columns: Mapping[str, int],
) -> Floats:
    """The mean of a figure over the cells of each configuration and prompt, those without it left out."""
    sums, counts = np.zeros(shape), np.zeros(shape)
    for cell in cells:
        value = figure(cell)
        if value is not None:
            at = cell.key.configuration, columns[cell.key.prompt_id]
            sums[at] += value
            counts[at] += 1
    means: Floats = np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)
    return means


def _kld_nats(cell: Cell) -> float | None:
    return None if cell.kld is None or cell.kld_tokens is None else cell.kld * cell.kld_tokens


def _columns(prompt_ids: Sequence[str]) -> dict[str, int]:
    return {id: column for column, id in enumerate(prompt_ids)}
