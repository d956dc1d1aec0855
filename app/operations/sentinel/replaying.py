"""A round of the sentinel, as a background job: each golden prompt is answered again, timed, and held against what is
accepted.

An answer is kept whole or not at all, as soon as it is there: a round that gave way, was stopped, or whose server was
killed goes on with the golden prompts that have none. What cannot be answered is kept with the reason.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from app.background.jobs import JobCancelled, Report, Steps
from app.operations.idle.giving_way import Watch, nobody_to_give_way_to
from app.operations.sentinel.comparing import FEWEST, deviations, filed_as
from app.operations.sentinel.fingerprint import before_running, changes, fingerprint, installed_weights, models_of
from app.operations.sentinel.options import SentinelOptions
from app.operations.sentinel.picking import score
from app.runs.answers import RunNotFinishedError, answer_kept, answer_unkept
from app.runs.live_run import LiveRun
from app.runs.race import LaneRun
from app.runs.service import InferenceEngine
from app.store import (
    Deviation,
    GoldenAnswer,
    GoldenPrompt,
    GoneError,
    RoundCause,
    RunSource,
    RunStore,
    SentinelRound,
    StartedFrom,
)
from engine import DivergenceStats, WindowDivergence
from engine.errors import EngineClosedError, InsufficientMemoryError, InvalidRequestError, NonFiniteLogitsError
from engine.types import GenerationRequest, OptimizationConfig, RunMetrics
from engine.untrusted import valid_text

TIMED = 4
"""Timed answers: with as many of the accepted one, an interval of their ratio has a level of 97 %."""
JOB = "sentinel"
_NO_FIGURE = (InsufficientMemoryError, InvalidRequestError, NonFiniteLogitsError)
_CASCADE = "A cascade's answers are not one model's."
_WINDOW = "KV of a sliding window is not read at once."


class SentinelEngine(InferenceEngine, Protocol):
    """What replaying needs of an engine; see `engine.Engine`."""

    def weights_sha256(self, model: str) -> str: ...
    def forget_session(self, salt: str) -> None: ...

    def compare_candidates(
        self,
        request: GenerationRequest,
        token_ids: Sequence[int],
        candidates: Sequence[OptimizationConfig],
        progress: Callable[[str, float], None] = ...,
    ) -> tuple[WindowDivergence, ...]: ...


def replay(
    engine: SentinelEngine,
    store: RunStore,
    report: Report,
    *,
    cause: RoundCause = RoundCause.DEMAND,
    changed: Sequence[str] = (),
    golden_ids: Sequence[str] | None = None,
    started_from: StartedFrom = StartedFrom.PAGE,
    watch: Watch = nobody_to_give_way_to,
    timed: int = TIMED,
) -> SentinelRound:
    """Replay golden prompts, or go on with a round that was interrupted, and return it.

    Args:
        engine: who answers.
        store: what keeps it, as the application sees it.
        report: told of the progress.
        cause: why.
        changed: what has changed, where that is the cause.
        golden_ids: which ones; all unless given.
        started_from: where the job was started.
        watch: called at every event of a run; what it raises ends the round where it stands.
        timed: so many timed answers each.

    Raises:
        UnderWayError: somebody replays already, on this server or another.
        InvalidRequestError: there is no golden prompt.
        GaveWayError: from ``watch``.
        JobCancelled: from ``report``.
        GearboxError: whatever keeps the engine or the store from it.
    """
    goldens = {golden.id: golden for golden in store.sentinel.all()}
    wanted = [id for id in (goldens if golden_ids is None else golden_ids) if id in goldens]
    if not wanted:
        raise InvalidRequestError("There is no golden prompt to replay yet.")
    begun = store.sentinel.begin(cause, wanted, started_from, changed)
    finished = False
    try:
        answered = store.sentinel.answered(begun.id)
        planned = [goldens[id] for id in begun.golden_ids if id in goldens]
        waiting = [golden for golden in planned if golden.id not in answered]
        steps = Steps(report, done=len(planned) - len(waiting), total=len(planned))
        options = SentinelOptions.kept(store.options)
        for place, golden in enumerate(waiting, len(planned) - len(waiting) + 1):
            steps.at(f"Replaying {golden.name} · {place:,} of {len(planned):,}")
            replayed = _Replayed(engine, store, golden, begun.id, steps, options, watch, timed)
            try:
                replayed.keep()
            finally:
                engine.forget_session(replayed.salt)
            steps.advance()
        finished = True
    except JobCancelled:  # somebody does not want the rest of it
        finished = True
        raise
    finally:
        store.sentinel.end(begun.id, finished=finished)
    steps.at("Done", finished=True)
    return begun


@dataclass(slots=True)
class _Replayed:
    """One golden prompt's turn."""

    engine: SentinelEngine
    store: RunStore
    golden: GoldenPrompt
    round_id: str
    steps: Steps
    options: SentinelOptions
    watch: Watch
    timed: int
    _times: list[RunMetrics] = field(default_factory=list)
    _disturbed: int = 0

    def keep(self) -> None:
        """Have it answered, hold that against what is accepted, and keep it."""
        accepted = self.store.sentinel.baselines().get(self.golden.id)
        if accepted is None:  # it was deleted meanwhile
            return
        weights = installed_weights(self.engine, models_of(self.golden.run_config))
        answer = self._answer(accepted, weights)
        if answer.failure is None:
            if self.options.kld:
                answer = self._compared(answer, accepted)
            self._time(self.timed)
            answer = self._with_times(answer)
            if {Deviation.SLOWER, Deviation.FASTER} & set(deviations(accepted, answer, self.options)):
                self._time(self.timed)  # a drift must still be there a while later
                answer = self._with_times(answer)
        answer = replace(answer, deviations=deviations(accepted, answer, self.options))
        if answer.deviations and (filed := filed_as(answer, self.store.sentinel.known(), self.options)):
            answer = replace(answer, known_at=filed.known_at, note=filed.note)
        try:
            self.store.sentinel.keep_answer(answer)
        except GoneError:  # it was deleted meanwhile
            return
        if not answer.deviations and not changes(accepted.fingerprint, answer.fingerprint):
            enough = len(self._times) >= FEWEST
            self.store.sentinel.complete(accepted.id, answer if enough else replace(answer, ttft_s=(), tpot_s=()))

    def _answer(self, accepted: GoldenAnswer, weights: dict[str, str]) -> GoldenAnswer:
        """Once, kept among the runs."""
        run = LaneRun(self._request())
        try:
            answer_kept(
                self.engine,
                self.store,
                run,
                person_id=self.golden.person_id,
                source=RunSource.SENTINEL,
                watch=self._look,
                group_id=self.round_id,
            )
        except RunNotFinishedError:
            if run.error is None or run.error_kind == EngineClosedError.__name__:
                raise
        environment = run.environment if run.environment else before_running({})
        return GoldenAnswer(
            id=uuid.uuid4().hex,
            golden_id=self.golden.id,
            round_id=self.round_id,
            created_at=datetime.now(UTC),
            run_id=run.run_id,
            text=valid_text(run.text),  # as the accepted one was kept
            token_ids=run.token_ids,
            score=None if run.error else score(self.golden, run.text),
            fingerprint=fingerprint({**before_running({}), **environment}, weights),
            failure=run.error,
            against_id=accepted.id,
        )

    def _compared(self, answer: GoldenAnswer, accepted: GoldenAnswer) -> GoldenAnswer:
        """With how far its distributions along the accepted tokens are from 16 bits."""
        gears = self.golden.run_config.optimization
        if gears.cascade is not None or gears.window is not None:
            return replace(answer, no_kld=_CASCADE if gears.cascade else _WINDOW)
        try:
            tokens = self.engine.compare_candidates(
                self._request(), accepted.token_ids, [gears], self._look_while_comparing
            )[0]
        except _NO_FIGURE as error:
            return replace(answer, no_kld=str(error))
        return replace(answer, kld=DivergenceStats.from_tokens(tokens).kld_mean, kld_tokens=len(tokens))

    def _time(self, count: int) -> None:
        """So many answers more, each with the engine to itself, kept by their times alone. For those that are
        disturbed there are others, up to as many again."""
        wanted = len(self._times) + count
        for _ in range(2 * count):
            if len(self._times) >= wanted:
                return
            run = answer_unkept(self.engine, replace(self._request(), exclusive=True), self._look)
            if run.disturbed or run.metrics is None:
                self._disturbed += 1
            else:
                self._times.append(run.metrics)

    def _with_times(self, answer: GoldenAnswer) -> GoldenAnswer:
        return replace(
            answer,
            ttft_s=tuple(each.ttft_s for each in self._times if each.ttft_s is not None),
            tpot_s=tuple(each.tpot_s for each in self._times if each.tpot_s is not None),
            disturbed=self._disturbed,
        )

    @property
    def salt(self) -> str:
        """Whose KV it is, which is let go of afterwards."""
        return f"sentinel {self.round_id} {self.golden.id}"

    def _request(self) -> GenerationRequest:
        """Of which nothing is reused."""
        return replace(self.golden.request, cache_salt=self.salt, cold=True, unguarded=True)

    def _look(self, run: LiveRun) -> None:
        self.watch()
        self.steps.meanwhile(run.loading_now)

    def _look_while_comparing(self, stage: str, fraction: float) -> None:
        self.watch()
        self.steps.loading(stage, fraction)
