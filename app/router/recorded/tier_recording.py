"""One tier's answers to the prompts of a set: some alone, for their times, the rest together.

Each is kept as soon as it is there. Of those that were given together the times are estimated from the others', and
marked so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from app.background.jobs import Steps
from app.environment import measured_here
from app.quantization.lab import LabError, answer
from app.router.recorded.timing import FEW, TIMED_ALONE, OwnTimes, Timed, some_of_all_lengths, to_time
from app.runs.answers import RequestRefusedError
from app.runs.live_run import LiveRun
from app.runs.service import InferenceEngine
from app.runs.together import Watch, answered_together, sooner_on
from app.store import RouterStore
from engine import JUDGED, EngineStatus, Task, check
from engine.cascade import TierAnswer, tier_answer
from engine.errors import NotJudgedError
from engine.types import Tier

log = logging.getLogger(__name__)


class RecordingEngine(InferenceEngine, Protocol):
    """What recording needs of an engine; see `engine.Engine`."""

    def status(self) -> EngineStatus: ...
    def weights_sha256(self, model: str) -> str: ...


@dataclass(slots=True, kw_only=True)
class TierRecording:
    """What a tier answers to a set, as far as it has not yet."""

    engine: RecordingEngine
    store: RouterStore
    """As whoever records sees it."""
    identity: str
    """Of the set."""
    tier: Tier
    weights_sha256: str
    session: str
    """Whose requests these are, to the engine."""
    tasks: Sequence[Task]
    """The prompts that are answered in the end."""
    effort: int
    """What an answer counts for in the progress."""
    missing: Sequence[Task] = field(init=False)
    """Those that have no answer yet."""
    refused: list[str] = field(init=False, default_factory=list)
    """Those that the tier could not take, in words."""
    _timed: list[Timed] = field(init=False, default_factory=list)
    """Answers that had the engine alone."""
    _to_time: Sequence[Task] = field(init=False)
    """Of the missing, those that get the engine alone."""
    _sooner: int = field(init=False)
    """About how many times sooner answers come together."""
    _over: int = field(init=False)
    """Prompts that are answered, or refused."""

    def __post_init__(self) -> None:
        known = self.store.answered(self.identity, self.tier.key, self.weights_sha256)
        self.missing = [task for task in self.tasks if task.id not in known]
        self._over = len(self.tasks) - len(self.missing)
        device = self.engine.status().device
        self._sooner = round(sooner_on(device))
        if len(self.missing) > FEW:
            before = self.store.recorded_answers(self.identity, self.tier.key, self.weights_sha256)
            self._timed = [
                Timed(each.answer, None)
                for prompt_id, each in before.items()
                if prompt_id in known and each.is_quiet and measured_here(each.environment, device)
            ]
        self._to_time = to_time(self.missing, len(self._timed))

    @property
    def done(self) -> int:
        """The effort of what is over."""
        return self.effort * self._over

    @property
    def to_do(self) -> int:
        """The effort of what is missing."""
        return sum(map(self._effort_of, self.missing))

    def record(self, steps: Steps) -> None:
        """Have it answered, and keep the answers.

        Raises:
            LabError: a run failed.
            GearboxError: whatever keeps the engine or the store from it.
            JobCancelled: from ``steps``.
        """
        left, alone = self.missing, self._to_time
        while alone:
            for task in alone:
                self._answer_alone(task, steps)
            left = [task for task in left if task not in alone]
            alone = some_of_all_lengths(left, TIMED_ALONE - len(self._timed))  # instead of those that were refused
        for task in self._answer_together(left, steps) if left else ():
            self._answer_alone(task, steps)

    def _answer_alone(self, task: Task, steps: Steps) -> None:
        self._tell(steps)
        try:
            run = self._ask(task, lambda run: steps.meanwhile(run.loading_now), timed=True)
        except RequestRefusedError as refusal:
            self._refuse(task, refusal)
        else:
            answered = self._answer(task, run)
            self._timed.append(Timed(answered, run.disturbed))
            self._keep(task, answered, {**run.environment, "disturbed": run.disturbed})
        self._advance(task, steps)

    def _answer_together(self, tasks: Sequence[Task], steps: Steps) -> list[Task]:
        """Returns those whose times cannot be told, and which are not kept."""
        times, untold = OwnTimes.of(self._timed), []
        with answered_together(tasks, self._ask, steps.meanwhile) as answers:
            for _ in tasks:
                self._tell(steps)
                task, run = next(answers)
                if isinstance(run, RequestRefusedError):
                    self._refuse(task, run)
                elif (answered := times.applied(self._answer(task, run))) is None:
                    untold.append(task)
                    continue
                else:
                    self._keep(task, answered, {**run.environment, **times.environment})
                self._advance(task, steps)
        return untold

    def _ask(self, task: Task, watch: Watch, *, timed: bool = False) -> LiveRun:
        request = replace(task.request(self.tier.model, self.tier.precision), cache_salt=self.session)
        failed = f"{self.tier.key} could not answer “{task.id}”"
        return answer(self.engine, request, watch, timed=timed, failed=failed)

    def _answer(self, task: Task, run: LiveRun) -> TierAnswer:
        answered = tier_answer([event for event in (run.prefill, *run.tokens, run.end) if event], partial(_score, task))
        if answered is None:
            raise LabError(f"What {self.tier.key} took to answer “{task.id}” was not measured.")
        return answered

    def _keep(self, task: Task, answered: TierAnswer, environment: Mapping[str, Any]) -> None:
        self.store.keep_answer(self.identity, task.id, self.tier.key, self.weights_sha256, answered, environment)

    def _refuse(self, task: Task, refusal: RequestRefusedError) -> None:
        self.refused.append(f"“{task.id}” by {self.tier.key} ({refusal})")

    def _tell(self, steps: Steps) -> None:
        steps.at(f"{self.tier.key} · prompt {self._over + 1:,} of {len(self.tasks):,}")

    def _advance(self, task: Task, steps: Steps) -> None:
        self._over += 1
        steps.advance(self._effort_of(task))

    def _effort_of(self, task: Task) -> int:
        """One that has the engine alone counts for several where the others come together."""
        few = len(self._to_time) == len(self.missing)
        return self.effort * (1 if few or task not in self._to_time else self._sooner)


def _score(task: Task, text: str) -> float | None:
    """How right an answer is; ``None`` where that cannot be told, and the prompt is then left out of every count."""
    if task.checker in (None, JUDGED):
        return None
    try:
        return float(check(task, text))
    except NotJudgedError as error:
        log.warning("an answer to %s is not judged: %s", task.id, error)
        return None
