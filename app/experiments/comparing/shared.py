"""What configurations made of the prompts that all of them answered, as arrays: configurations × prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from operator import methodcaller
from statistics import fmean
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.experiments.comparing.configurations import WholeConfiguration
from app.experiments.statistics.intervals import Floats
from app.store import AnsweredRun, RunScore

Bools: TypeAlias = NDArray[np.bool_]
Asked: TypeAlias = tuple[str, int]
"""What stands for a prompt, and how long its answer might be at most: only answers to the same can be paired."""


class Quantity(StrEnum):
    """A figure of runs that takes part in a comparison; the less the better, but for tokens, which are just counted."""

    E2E = "e2e"
    TTFT = "ttft"
    TPOT = "tpot"
    ANSWER_TOKENS = "answer tokens"
    MEMORY = "weights and kv"
    KV = "kv"


TIMES = (Quantity.E2E, Quantity.TTFT, Quantity.TPOT)
_READ: Mapping[Quantity, Callable[[AnsweredRun], float | None]] = {
    Quantity.E2E: lambda run: run.e2e_s,
    Quantity.TTFT: lambda run: run.ttft_s,
    Quantity.TPOT: lambda run: run.tpot_s,
    Quantity.ANSWER_TOKENS: lambda run: run.completion_tokens,
    Quantity.MEMORY: lambda run: None if run.weights_bytes is None else run.weights_bytes + (run.kv_bytes or 0),
    Quantity.KV: lambda run: run.kv_bytes,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """Arrays are [configurations, prompts]; NaN is what is not there."""

    answered: tuple[int, ...]
    """How many prompts each configuration answered, or failed on, whether the others did or not."""
    both: Mapping[tuple[int, int], int]
    """How many of them two configurations have in common, by their places."""
    figures: Mapping[Quantity, Floats]
    """Means over the runs of a prompt. Times, in seconds, are of those that had the engine alone and were not
    disturbed; of disturbed ones where there are no others."""
    scores: Floats
    """A checker's, means over the runs of a prompt, 0 to 1; a failure counts as 0."""
    failed: Bools
    """Prompts without an answer."""
    disturbed: Bools
    """Prompts whose times are of disturbed runs alone."""
    latest: NDArray[np.object_]
    """The id of the latest run with an answer; "" where there is none."""
    groups: tuple[str, ...] | None
    """The template of each prompt: those of one are no independent draws. ``None`` where nothing is known of any."""

    @property
    def prompts(self) -> int:
        """Those that all have in common."""
        return int(self.failed.shape[1])

    @property
    def checked(self) -> Bools:
        """Which prompts a checker scored with every configuration, ``[prompts]``."""
        return np.asarray(~np.isnan(self.scores).any(axis=0), np.bool_)

    @property
    def unchecked(self) -> Bools:
        """Which prompts no checker scored with any, ``[prompts]``."""
        return np.asarray(np.isnan(self.scores).all(axis=0), np.bool_)


def shared_prompts(
    runs: Iterable[AnsweredRun],
    configurations: Sequence[WholeConfiguration],
    scores: Mapping[str, RunScore],
    templates: Mapping[str, str] | None = None,
) -> Shared:
    """Pair runs by what they were asked.

    Args:
        runs: of these configurations, and perhaps of others, the oldest first.
        configurations: two or more.
        scores: of the runs that are cells of experiments, by the run's id.
        templates: of an experiment's prompts, by their ids.
    """
    places = {
        hash: (place, most) for place, each in enumerate(configurations) for hash, most in each.most_tokens.items()
    }
    lanes: list[dict[Asked, list[AnsweredRun]]] = [{} for _ in configurations]
    for run in runs:
        if run.config_hash in places:
            place, most = places[run.config_hash]
            lanes[place].setdefault((run.asked_sha256, most), []).append(run)
    asked = [each for each in lanes[0] if all(each in lane for lane in lanes[1:])]
    cells = [[_Cell.of(lane[each], scores) for each in asked] for lane in lanes]
    return Shared(
        answered=tuple(map(len, lanes)),
        both={(a, b): len(lanes[a].keys() & lanes[b].keys()) for a, b in combinations(range(len(lanes)), 2)},
        figures={quantity: _array(cells, methodcaller("mean", quantity)) for quantity in Quantity},
        scores=_scores(cells),
        failed=_array(cells, lambda cell: not cell.done).astype(np.bool_),
        disturbed=_array(cells, lambda cell: cell.disturbed).astype(np.bool_),
        latest=np.array([[cell.done[-1].id if cell.done else "" for cell in row] for row in cells], dtype=object),
        groups=None if templates is None else _groups(asked, cells, templates),
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    """The runs of one configuration on one prompt."""

    done: Sequence[AnsweredRun]
    timed: Sequence[AnsweredRun]
    disturbed: bool
    score: float | None
    prompt_id: str

    @classmethod
    def of(cls, runs: Sequence[AnsweredRun], scores: Mapping[str, RunScore]) -> _Cell:
        done = [run for run in runs if not run.failed]
        alone = [run for run in done if not run.shared]
        quiet = [run for run in alone if not run.disturbed]
        known = [scores[run.id] for run in runs if run.id in scores]
        found = [each.score for each in known if each.score is not None]
        kinds = {each.kind for each in known if each.score is not None}
        failures = [0.0 for run in runs if run.failed and run.id in scores and scores[run.id].kind in kinds]
        return cls(
            done,
            quiet or alone,
            disturbed=bool(alone) and not quiet,
            score=fmean([*found, *failures]) if found else None,
            prompt_id=known[0].prompt_id if known else "",
        )

    def mean(self, quantity: Quantity) -> float:
        values = [_READ[quantity](run) for run in (self.timed if quantity in TIMES else self.done)]
        known = [value for value in values if value is not None]
        return fmean(known) if known else np.nan


def _array(cells: Sequence[Sequence[_Cell]], read: Callable[[_Cell], float]) -> Floats:
    shape = len(cells), len(cells[0])
    return np.array([[read(cell) for cell in row] for row in cells], np.float64).reshape(shape)


def _scores(cells: Sequence[Sequence[_Cell]]) -> Floats:
    """Where a checker scored the prompt's answer with any, one that gave none is wrong."""
    found = _array(cells, lambda cell: np.nan if cell.score is None else cell.score)
    failed = _array(cells, lambda cell: not cell.done).astype(np.bool_)
    return np.where(failed & ~np.isnan(found).all(axis=0), 0.0, found)


def _groups(asked: Sequence[Asked], cells: Sequence[Sequence[_Cell]], templates: Mapping[str, str]) -> tuple[str, ...]:
    """The template of each prompt; what stands for the prompt itself where it has none."""
    ids = [next((cell.prompt_id for cell in column if cell.prompt_id), "") for column in zip(*cells, strict=True)]
    return tuple(templates.get(id) or sha256 for id, (sha256, _) in zip(ids, asked, strict=True))
