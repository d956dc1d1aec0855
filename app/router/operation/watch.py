"""A router profile in operation: what its live runs do, against what it promised.

Live are finished runs that people asked for in the Playground, in chats and over the API; runs of the labs say nothing
of what is asked in use.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from app import units
from app.router.operation.in_use import cascade_by
from app.router.operation.live import score_of
from app.router.operation.promised import promised_figures
from app.store import WITHOUT_LABS, KeptVerdict, Rating, RunFilter, RunRecord, RunStatus, RunStore
from engine import JUDGED, Task, check
from engine.cascade import Evidence, Figure, RouterProfile, router_class
from engine.cascade.choosing.evidence import prompt_sha256
from engine.cascade.reporting.figures import count_of
from engine.cascade.reporting.intervals import clopper_pearson
from engine.cascade.routing.calibration import Drift
from engine.errors import NotJudgedError
from engine.types import CascadeReport, RunConfig, Tier

MOST_RUNS = 500
"""The latest that are looked at."""
FEWEST_RUNS = 20
"""Below so many, no promise is called broken."""
RECENT_RUNS = 50
"""The latest ones, that an alarm is about: what long went well must not hide what goes wrong now."""
_CONFIDENCE = 0.99
"""Of the intervals behind an alarm: they are looked at again and again."""
_POINTS = 12
_RIGHT = 0.5
_CHECKED_LIVE = frozenset({"exact", "number", "choice", "contains", "regex", "json", "schema"})
"""Checkers that compare texts. Code is run, which takes seconds each: not while a page is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedRun:
    """One run that went by the profile."""

    id: str
    at: datetime
    prompt: str
    alone: bool
    """Whether the prompt was all there was to read: no system prompt, no earlier turns."""
    report: CascadeReport
    seconds: float
    """E2E, queueing and loading left out."""
    config: RunConfig
    correct: bool | None
    """Where the prompt is one of a set with a checker, whether the answer is right."""
    is_promised: bool
    """Whether the prompt is one of those that the profile was made from."""
    rating: Rating
    text: str
    """The answer."""
    reference: str | None = None
    """What a judge is to compare it with, where the prompt is one of a set that has it."""
    verdicts: tuple[KeptVerdict, ...] = ()
    """What judges say of it, the latest last."""

    def judged_by(self, judge: Tier | None) -> bool | None:
        """Whether a judge finds the answer right; ``None`` where it gave no verdict."""
        said = [each.verdict.right for each in self.verdicts if each.judge == judge]
        return said[-1] if said else None

    @property
    def went_up(self) -> bool:
        """Whether the smallest tier's answer was not kept, or it could not take part."""
        cascade = self.config.optimization.cascade
        return cascade is None or self.report.tier != str(cascade.smaller[0])


@dataclass(frozen=True, slots=True)
class SharePoint:
    """Some runs after each other: the share of them sent up, with its 95 % interval."""

    since: datetime
    until: datetime
    runs: int
    share: Figure


@dataclass(frozen=True, slots=True)
class Watch:
    """A profile and its latest live runs, the oldest first."""

    profile: RouterProfile
    runs: tuple[WatchedRun, ...]
    promised: Mapping[str, Figure]
    """Figures on the prompts that reported, by their names in a profile, as far as they are known."""

    @property
    def word(self) -> str:
        """What its figures are called: promised, or where that is not shown, expected."""
        promise = self.profile.promise
        return "promised" if promise is not None and promise.shown else "expected"

    @property
    def share(self) -> Figure | None:
        """Sent up, of all; ``None`` without a run."""
        return _share(sum(run.went_up for run in self.runs), len(self.runs))

    @property
    def correct(self) -> Figure | None:
        """Right answers, of those that can be checked."""
        checked = [run.correct for run in self.runs if run.correct is not None]
        return _share(sum(checked), len(checked))

    @property
    def checked(self) -> int:
        """Answers that can be checked."""
        return sum(run.correct is not None for run in self.runs)

    @property
    def judge(self) -> Tier | None:
        """Who judged last: whose verdicts count. Those of several are not mixed."""
        said = [each for run in self.runs for each in run.verdicts]
        return max(said, key=lambda each: each.created_at).judge if said else None

    @property
    def verdicts(self) -> tuple[bool, ...]:
        """What :attr:`judge` says of the answers that nothing else checks."""
        judge = self.judge
        said = (run.judged_by(judge) for run in self.runs if run.correct is None)
        return tuple(right for right in said if right is not None)

    @property
    def judged(self) -> Figure | None:
        """Answers found right, of those that the judge gave a verdict on; ``None`` without any."""
        return _share(sum(self.verdicts), len(self.verdicts))

    @property
    def thumbs(self) -> tuple[int, int]:
        """Thumbs up and down."""
        return sum(run.rating > 0 for run in self.runs), sum(run.rating < 0 for run in self.runs)

    @property
    def saved_s(self) -> tuple[float, float, int]:
        """Seconds that all tiers took, that the large model alone would have, and of how many runs both are known. As
        in a run's receipt and in Operations, without what the run took beside its tiers."""
        known = [
            (run.report.tried_s, run.report.large_alone_s) for run in self.runs if run.report.large_alone_s is not None
        ]
        return sum(took for took, _ in known), sum(alone for _, alone in known), len(known)

    @property
    def derived(self) -> int:
        """Runs whose large model's time is derived, not measured."""
        return sum(run.report.large_alone_s is not None and run.report.derived for run in self.runs)

    def scores(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """What the first boundary's router scored, ``[scored runs]``."""
        router = router_class(self.profile.kind)(
            boundary=self.profile.boundaries[0], after_tokens=self.profile.after_tokens
        )
        found = (score_of(run.report.attempts[0], router) for run in self.runs)
        return np.array([score for score in found if score is not None], np.float64)

    def drift(self) -> Drift | None:
        """Those scores against the ones that the threshold was chosen on; ``None`` where the profile has none."""
        reference = self.profile.boundaries[0].reference
        return reference.drift(self.scores()) if reference else None

    def shares(self) -> tuple[SharePoint, ...]:
        """The share sent up over time, in equal numbers of runs."""
        each = max(FEWEST_RUNS // 2, math.ceil(len(self.runs) / _POINTS))
        points: list[SharePoint] = []
        for start in range(0, len(self.runs), each):
            part = self.runs[start : start + each]
            share = _share(sum(run.went_up for run in part), len(part))
            if share and (len(part) >= each // 2 or not points):
                points.append(SharePoint(part[0].at, part[-1].at, len(part), share))
        return tuple(points)

    def alarms(self) -> tuple[str, ...]:
        """What of the promise no longer holds, for the user; none while there are too few runs to say so."""
        if len(self.runs) < FEWEST_RUNS:
            return ()
        recent = replace(self, runs=self.runs[-RECENT_RUNS:])
        return tuple(alarm for alarm in recent._alarms() if alarm)

    def _alarms(self) -> tuple[str, ...]:
        return self._share_alarm(), self._quality_alarm(), self._time_alarm(), self._drift_alarm()

    def _share_alarm(self) -> str:
        went_up, promised = sum(run.went_up for run in self.runs), self.promised.get("share")
        low, high = clopper_pearson(went_up, len(self.runs), _CONFIDENCE)
        if promised is None or (low <= promised.high and high >= promised.low):
            return ""
        return (
            f"{units.percent(went_up / len(self.runs))} of the last {len(self.runs):,} runs were sent up, where "
            f"{units.percent(promised.value)} ({units.percent(promised.low)} to {units.percent(promised.high)}) were "
            f"{self.word}."
        )

    def _quality_alarm(self) -> str:
        """On what checkers tell of answers to the very prompts that the promise is about: other prompts may be harder,
        and a judge does not judge as checkers do."""
        promised = self.promised.get("quality")
        told = [run.correct for run in self.runs if run.correct is not None and run.is_promised]
        if promised is None or len(told) < FEWEST_RUNS:
            return ""
        _, high = clopper_pearson(sum(told), len(told), _CONFIDENCE)
        if high >= promised.low:
            return ""
        return (
            f"{units.percent(sum(told) / len(told))} of {len(told):,} checked answers to the prompts it was chosen on "
            f"are right, where {units.percent(promised.value)} "
            f"({units.percent(promised.low)} to {units.percent(promised.high)}) were {self.word}."
        )

    def _time_alarm(self) -> str:
        took, alone, known = self.saved_s
        if known < FEWEST_RUNS or took <= alone * 1.05:
            return ""
        return (
            f"The last {known:,} runs took {units.seconds(took)}, where the large model alone would have taken "
            f"{units.seconds(alone)}: the cascade costs time."
        )

    def _drift_alarm(self) -> str:
        drift = self.drift()
        return drift.warning if drift else ""


def watch(store: RunStore, profile: RouterProfile, evidence: Evidence | None, tasks: Mapping[str, Task]) -> Watch:
    """A profile's latest live runs that the viewer may see.

    Args:
        store: where runs are kept.
        profile: the profile.
        evidence: what it is judged by, where it has that.
        tasks: prompts whose answers can be checked, by the prompt.

    Raises:
        StoreError: the run database cannot be read.
    """
    of_profile = RunFilter(
        router_profile=cascade_by(profile).profile_key,
        statuses=(RunStatus.FINISHED,),
        sources=WITHOUT_LABS,
    )
    ids = [row.id for row in store.page(of_profile, limit=MOST_RUNS).rows]
    verdicts = store.router.run_verdicts(ids)
    chosen_on = frozenset(evidence.prompts_sha256 if evidence else ())
    runs = (_watched(run, tasks, chosen_on, verdicts.get(run.id, ())) for run in store.get_many(ids))
    in_order = tuple(sorted((run for run in runs if run), key=lambda run: run.at))
    return Watch(profile, in_order, promised_figures(profile, evidence))


def live_tasks(runs: Sequence[WatchedRun], tasks: Mapping[str, Task]) -> tuple[Task, ...]:
    """What was asked in use as prompts to record, each once, the latest first. One of a set keeps its checker; the
    others have none."""
    found: dict[str, Task] = {}
    for run in reversed(runs):
        if run.alone and run.prompt not in found:
            known = tasks.get(run.prompt)
            found[run.prompt] = Task(
                id=hashlib.sha256(run.prompt.encode()).hexdigest()[:16],
                category=known.category if known else "Live",
                prompt=run.prompt,
                checker=known.checker if known else None,
                expected=known.expected if known else None,
                max_tokens=known.max_tokens if known else run.config.sampling.max_tokens,
            )
    return tuple(found.values())


def _watched(
    run: RunRecord, tasks: Mapping[str, Task], chosen_on: frozenset[str], verdicts: tuple[KeptVerdict, ...]
) -> WatchedRun | None:
    if run.cascade is None or run.metrics is None:
        return None
    task = tasks.get(run.prompt) if len(run.messages) == 1 else None
    return WatchedRun(
        id=run.id,
        at=run.created_at,
        prompt=run.prompt,
        alone=len(run.messages) == 1,
        report=run.cascade,
        seconds=run.metrics.e2e_s - run.metrics.queue_s,
        config=RunConfig.from_dict(run.config),
        correct=_correct(task, run.text) if task else None,
        is_promised=prompt_sha256(run.prompt) in chosen_on,
        rating=run.rating,
        text=run.text,
        reference=task.expected if task and task.checker == JUDGED else None,
        verdicts=verdicts,
    )


def _correct(task: Task, text: str) -> bool | None:
    if task.checker not in _CHECKED_LIVE:
        return None
    try:
        return check(task, text)
    except NotJudgedError:
        return None


def _share(hits: int, total: int) -> Figure | None:
    return count_of(hits, total) if total else None
