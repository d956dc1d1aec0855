"""The Router lab's data: what was recorded, and the studies made of it, each computed once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from app.router.choosing.ladder import LadderStudy
from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.operation.live import (
    LiveScores,
    cascade_scores,
    conversation_scores,
    rated_prompts,
    rated_runs,
    tier_scores,
)
from app.router.recorded.data_sets import (
    PAIRS,
    RATED,
    DataSet,
    about,
    built_in_name,
    built_in_sets,
    read_built_in,
    read_recorded,
    with_judgements,
)
from app.router.recorded.sizes import catalogue_sizes
from app.store import RunStore
from engine.cascade import (
    BoundaryData,
    Costs,
    LadderSelection,
    Resampling,
    RouterMetrics,
    Selection,
    Target,
    ThresholdFigures,
    data_hash,
    select,
    select_ladder,
    signal_strengths,
)
from engine.cascade.routing.calibration import SignalStrength
from engine.errors import RecordedPairsError

_RATED_NAME = "Runs you rated"
_KEPT = 32
_T = TypeVar("_T")


@dataclass(slots=True)
class _Kept:
    """What is worked out once. Its own lock is held meanwhile, so that only those who want the same wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    there: bool = False
    value: object = None


class RouterLab:
    """Data sets and what was worked out of them; the latest of both are kept. Safe to use from any thread."""

    def __init__(
        self, store: RunStore, folder: Path = PAIRS, sizes: Callable[[], Mapping[str, int]] = catalogue_sizes
    ) -> None:
        """Use a store, and the recorded answers of a folder; ``sizes`` gives the parameters of models by name."""
        self._runs = store
        self._store = store.router
        self._folder = folder
        self._sizes = sizes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def seen_by(self, store: RunStore) -> RouterLab:
        """The same lab over what somebody may see; ``store`` is the same one, as they see it."""
        seen = copy(self)
        seen._runs, seen._store = store, store.router
        return seen

    def parameters(self) -> Mapping[str, int]:
        """Of models, by name, as far as they are known."""
        return self._sizes()

    def names(self) -> dict[str, str]:
        """What there is, by id: what comes with Gearbox, the recorded sets with the newest first, the rated runs."""
        names = {}
        for path in built_in_sets(self._folder):
            title = path.stem.capitalize()
            with suppress(RecordedPairsError):  # told when it is opened
                title, _ = about(path)
            names[f"built-in:{path.stem}"] = built_in_name(title)
        names |= {kept.sha256: kept.name for kept in self._store.sets()}
        return names | ({RATED: _RATED_NAME} if any(rated_runs(self._runs)) else {})

    def data_set(self, id: str) -> DataSet:
        """A data set as it is now.

        Raises:
            RecordedPairsError: there is none of that id, or its file cannot be read.
            StoreError: the run database cannot be read.
        """
        found, sizes = self._read(id), self._sizes()
        if id == RATED:  # a thumb is what somebody says of an answer
            return replace(found, parameters=sizes)
        marks, of_judges = self._store.marks(id), self._store.judged_until(id)
        told = tuple((its.tier, its.last_at, its.own, its.to_renew) for its in found.recorded.values())
        return self._once(
            ("judged", id, found.name, found.sha256, told, marks, of_judges, tuple(sorted(sizes.items()))),
            lambda: with_judgements(replace(found, parameters=sizes), marks, self._store.verdicts(id)),
        )

    def _read(self, id: str) -> DataSet:
        """A data set as it was recorded."""
        if id.startswith("built-in:"):
            path = self._folder / f"{id.removeprefix('built-in:')}.jsonl"
            if not path.is_file():
                raise RecordedPairsError(f"There is no data set “{id}” any more.")
            changed = path.stat().st_mtime_ns
            return self._once(("built-in", path, changed), lambda: read_built_in(path))
        if id == RATED:
            return self._once(("rated", self._runs.viewer, rated_runs(self._runs)), self._read_rated)
        kept = next((kept for kept in self._store.sets() if kept.sha256 == id), None)
        if kept is None:
            raise RecordedPairsError("There is no such data set any more.")
        state = tuple(
            (r.tier, r.weights_sha256, r.answers, r.last_at, r.own, r.to_renew) for r in self._store.recorded(id)
        )
        return self._once(("recorded", kept, state), lambda: read_recorded(self._store, kept))

    def _read_rated(self) -> DataSet:
        prompts, weights = rated_prompts(self._runs)
        return DataSet(
            id=RATED,
            name=_RATED_NAME,
            prompts=prompts,
            size=len(prompts),
            weights=weights,
            disturbed={},
            sha256=data_hash(prompts),
        )

    def study(self, data: DataSet, weak: str, strong: str, choice: Choice) -> Study:
        """A router between two tiers.

        Raises:
            RecordedPairsError: no prompt has a scored answer of both.
        """
        return self._once(
            ("study", data.sha256, weak, strong, choice), lambda: Study.of(data.prompts, weak, strong, choice)
        )

    def study_elsewhere(self, data: DataSet, study: Study, costs: Costs) -> Study:
        """The same router, with costs derived from another machine's times or from prices.

        Raises:
            RecordedPairsError: they say nothing of one of the tiers.
        """
        key = ("elsewhere", data.sha256, study.weak, study.strong, study.choice, costs.to_json())
        return self._once(key, lambda: study.elsewhere(data.prompts, costs))

    def figures(self, study: Study, threshold: float) -> ThresholdFigures:
        """What a threshold gives on all prompts of a study, those that chose it among them."""
        return ThresholdFigures.of(study.data, threshold)

    def held_out(self, study: Study, threshold: float) -> ThresholdFigures:
        """What a threshold gives on the half that reports: the figures to believe, and those that a profile keeps."""
        return ThresholdFigures.of(self.reporting(study).data, threshold)

    def reporting(self, study: Study) -> Study:
        """The study on the half that reports."""
        return self._once(("half", study.choice, _identity(study.data)), study.reporting)

    def metrics(self, study: Study) -> RouterMetrics:
        """How good the router is over all thresholds, with intervals."""
        return self._once(
            ("metrics", _identity(study.data)), lambda: RouterMetrics.of(study.data, self.resampling(study.data))
        )

    def strengths(self, study: Study) -> tuple[SignalStrength, ...]:
        """What each signal tells alone, the best first."""
        return self._once(
            ("signals", study.weak, _identity(study.data)), lambda: signal_strengths(study.signals(), study.needed())
        )

    def selection(self, study: Study, target: Target) -> Selection:
        """A threshold picked on one half and reported on the other."""
        return self._once(("selection", _identity(study.data), target), lambda: select(study.data, target))

    def ladder(self, data: DataSet, tiers: tuple[str, str, str], choice: Choice) -> LadderStudy:
        """A router of one kind at both boundaries of three tiers.

        Raises:
            RecordedPairsError: no prompt has a scored answer of all three.
        """
        return self._once(("ladder", data.sha256, tiers, choice), lambda: LadderStudy.of(data.prompts, tiers, choice))

    def ladder_selection(self, ladder: LadderStudy, target: Target) -> LadderSelection:
        """Both thresholds picked on one half and reported on the other."""
        key = tuple(map(_identity, ladder.boundaries))
        return self._once(("ladder selection", key, target), lambda: select_ladder(ladder.boundaries, target))

    def tier_scores(self, study: Study) -> LiveScores:
        """What the study's router scores of the small tier's latest own runs.

        Raises:
            StoreError: the run database cannot be read.
        """
        return tier_scores(self._runs, study)

    def cascade_scores(self, study: Study) -> LiveScores:
        """What the study's router scored in the latest cascades between its tiers.

        Raises:
            StoreError: the run database cannot be read.
        """
        return cascade_scores(self._runs, study)

    def conversation_scores(self, study: Study) -> list[list[float]]:
        """What the router would have scored the turns of kept conversations.

        Raises:
            StoreError: the run database cannot be read.
        """
        return conversation_scores(self._runs, study)

    def resampling(self, data: BoundaryData) -> Resampling:
        """The draws for as many prompts; one for each number of prompts."""
        return self._once(("draws", len(data)), lambda: Resampling.of(len(data)))

    def _once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        with kept.lock:
            if not kept.there:
                kept.value = make()
                kept.there = True
            return cast("_T", kept.value)


def _identity(data: BoundaryData) -> Hashable:
    columns = (getattr(data, column.name) for column in fields(data))
    return hash(tuple(each.tobytes() if isinstance(each, np.ndarray) else each for each in columns))


def moved(study: Study, before: float, now: float) -> Sequence[int]:
    """Prompts that change sides between two thresholds, by falling score; a NaN score never does."""
    up_before, up_now = study.data.up(before), study.data.up(now)
    rows = np.flatnonzero(up_before != up_now)
    return [int(row) for row in rows[np.argsort(-study.data.router_score[rows], kind="stable")]]


def nearest(study: Study, threshold: float, count: int) -> Sequence[int]:
    """Prompts whose scores are closest to a threshold, by falling score: the next to change sides."""
    score = study.data.router_score
    known = np.flatnonzero(~np.isnan(score))
    rows = known[np.argsort(np.abs(score[known] - threshold), kind="stable")][:count]
    return [int(row) for row in rows[np.argsort(-score[rows], kind="stable")]]
