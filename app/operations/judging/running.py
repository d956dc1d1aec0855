"""Live traffic judged: one question at a time, while nobody else asks anything, until the day's budget is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Protocol

from app.background.jobs import Report, Steps
from app.costs.pricing import cost
from app.experiments.judging.judge import Judge, JudgeError, JudgingEngine, Reply
from app.experiments.judging.opinions import judge_words
from app.experiments.judging.prompts import MOST_TOKENS, Asked
from app.experiments.judging.verdict import verdict_of
from app.operations.idle.giving_way import GaveWayError, GivingWay, KnowsBusy, is_idle
from app.operations.judging.options import SALT, Judged, JudgingOptions
from app.remote.prices import ListPrice
from app.runs.live_run import LiveRun
from app.store import (
    Candidate,
    GoneError,
    LiveJudgement,
    NoVerdict,
    RunNotFoundError,
    RunRecord,
    RunStore,
    StartedFrom,
    StoreError,
)

DAY = timedelta(hours=24)
WINDOW = timedelta(days=7)
"""Older runs are not judged any more."""
MOST_AT_A_TIME = 500
"""Questions in one go, after which the sample is looked at again."""
_IN_VAIN = 5
"""After so many questions in a row that came to nothing, a judge is given up for this time."""
_CHARACTERS_A_TOKEN = 3
"""Where nobody counted: an estimate that is rather too dear."""
_UNKEPT = "What the judge said waits to be written, and nothing more is asked until it is."


class LiveEngine(JudgingEngine, KnowsBusy, Protocol):
    """What judging needs of an engine; see `engine.Engine`."""

    def forget_session(self, salt: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Left:
    """Of the day's budget."""

    calls: int
    money: float

    @classmethod
    def of(cls, store: RunStore, options: JudgingOptions, now: datetime) -> Left:
        """After what was asked in the last 24 hours, whatever came of it. Where the clock was set back, what the future
        took counts too."""
        calls, money = store.judging.spent(now - DAY)
        return cls(max(0, options.calls_a_day - calls), options.money_a_day - money)

    @property
    def is_spent(self) -> bool:
        """Whether nothing more may be asked."""
        return self.calls < 1 or self.money <= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What is needed for it."""

    engine: LiveEngine
    store: RunStore
    open: Callable[[Judged], Judge]
    per_hour: float
    """Of the machine, for what a local judge costs."""
    prices: Callable[[], Mapping[str, ListPrice]] = dict
    """List prices of servers' models that were added."""
    clock: Callable[[], float] = monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self, report: Report, *, started_from: StartedFrom = StartedFrom.ITSELF) -> int:
        """Judge what is in the sample and was not judged yet; says how many questions were asked.

        Raises:
            UnderWayError: another server judges.
            GaveWayError: somebody asked something; what was judged is kept.
            JudgeError: a judge answers nothing any more.
            InvalidRequestError: a server's judge has no price.
            StoreError: nothing can be written, and so nothing can be counted.
            GearboxError: whatever else keeps the engine or the store from it.
            JobCancelled: from ``report``.
        """
        asked = 0
        with self.store.judging.begun(started_from):
            for chosen in JudgingOptions.kept(self.store.options).judges:
                if self._may_ask(chosen) is not None:
                    asked += self._one(self.open(chosen), chosen, report)
        report("Done", 1.0)
        return asked

    def waiting(self, judge: Judge, options: JudgingOptions) -> tuple[Candidate, ...]:
        """What a judge is to be asked about, of every configuration and tier in turn."""
        since = self.now() - WINDOW
        return self.store.judging.candidates(judge.id, share=options.share, since=since, most=MOST_AT_A_TIME)

    def _may_ask(self, chosen: Judged) -> JudgingOptions | None:
        """What is chosen now; ``None`` where that is no judging any more, another judge, or a budget that is spent."""
        options = JudgingOptions.kept(self.store.options)
        if not options.on or chosen not in options.judges or Left.of(self.store, options, self.now()).is_spent:
            return None
        return options

    def _one(self, judge: Judge, chosen: Judged, report: Report) -> int:
        waiting = self.waiting(judge, JudgingOptions.kept(self.store.options))
        steps = Steps(report, done=0, total=len(waiting))
        name, in_vain, asked = judge_words(judge.id), 0, 0
        for place, candidate in enumerate(waiting, 1):
            options = self._may_ask(chosen)
            if options is None:
                return asked
            if not is_idle(self.engine):
                raise GaveWayError
            steps.at(f"{name} judges live traffic · {place:,} of {len(waiting):,}")
            judgement = self._ask(judge, chosen, candidate, options, steps)
            steps.advance()
            if judgement is None:
                continue
            asked += 1
            in_vain = in_vain + 1 if judgement.no_verdict is NoVerdict.NO_ANSWER else 0
            if in_vain >= _IN_VAIN:
                raise JudgeError(f"{name} did not answer {in_vain} times in a row: {judgement.detail}")
        return asked

    def _ask(
        self, judge: Judge, chosen: Judged, candidate: Candidate, options: JudgingOptions, steps: Steps
    ) -> LiveJudgement | None:
        """One question, charged before it is asked, and its answer kept; ``None`` where the run is gone already.

        What is broken off costs the time that it took, or of a server the estimate: nobody tells what it has read.
        """
        try:
            run = self.store.get(candidate.run_id)
        except RunNotFoundError:
            return None
        asked, way = Asked(question_of(run), run.text, None, candidate.run_id), GivingWay(self.engine)

        def watch(live: LiveRun) -> None:
            way()
            steps.meanwhile(live.loading_now)

        listed = None if chosen.is_local else options.price_of(chosen, self.prices())
        price = 0.0 if listed is None else _price(asked, Reply(), listed)
        charge = self.store.judging.charge(price)
        begun = self.clock()
        try:
            reply = judge.ask(asked, watch)
            seconds = self.clock() - begun
            verdict = verdict_of(asked, reply)
            price = cost(self.per_hour, seconds) if listed is None else _price(asked, reply, listed)
            judgement = LiveJudgement(
                run=candidate,
                judge=judge.id,
                score=verdict.score,
                reason=verdict.reason,
                no_verdict=verdict.no_verdict,
                detail=verdict.detail,
                seconds=seconds,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                cost=price,
            )
            if not self._kept(judgement):
                raise StoreError(f"{_UNKEPT} {waiting.why if (waiting := self.store.waiting) else ''}".strip())
        finally:
            self.engine.forget_session(SALT)  # the memory is people's: one question's KV at a time, and none for long
            took = cost(self.per_hour, self.clock() - begun) if chosen.is_local else price
            self.store.judging.settle(charge, took)
        return judgement

    def _kept(self, judgement: LiveJudgement) -> bool:
        """Whether it is stored, or need not be."""
        try:
            return self.store.judging.keep(judgement)
        except GoneError:  # its run was deleted meanwhile
            return True


def question_of(run: RunRecord) -> str:
    """What a run was asked, with the turns before it where there are any."""
    if len(run.messages) < 2:
        return run.prompt
    return "\n\n".join(f"{message.role.capitalize()}: {message.content}" for message in run.messages)


def _price(asked: Asked, reply: Reply, listed: ListPrice) -> float:
    """What a server takes for a question. Tokens that it does not tell are estimated."""
    read, written = reply.prompt_tokens, reply.completion_tokens
    if read is None:
        read = sum(len(each.content) for each in asked.messages()) // _CHARACTERS_A_TOKEN
    if written is None:
        written = MOST_TOKENS
    return listed.of(read, written)
