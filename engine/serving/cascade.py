"""A cascade: the tiers of one request, and the loop that asks one after the other. In the engine's thread."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from engine.cascade import AlwaysSmall, Guard, Guards, Router, routers_of
from engine.errors import RemoteError
from engine.generation.recorder import RunRecorder
from engine.generation.recording import Recording, TokenSink
from engine.passes import Steps
from engine.serving.attempt import Attempt
from engine.serving.counterfactual import Paces
from engine.serving.judgement import Judgement
from engine.serving.remote.attempt import RemoteAttempt
from engine.serving.scheduling.jobs import Company
from engine.serving.tiers import AnyAttempt, Tiers
from engine.speculation import StepTimes
from engine.types import NEVER, CascadeReport, Escalated, GenerationRequest, GuardState, TierAttempt

_MOST_SLOWER = 4.0
"""Times the usual, up or down, that a model is believed to have been held up by others on the machine."""


class Cascade:
    """The tiers of a request: each answers in turn, from the smallest up, until the router above it keeps the answer.
    With the gear off it is one tier, and nothing is above it."""

    def __init__(
        self, request: GenerationRequest, tiers: Tiers, guards: Guards, paces: Paces, company: Company
    ) -> None:
        """
        Args:
            request: what is asked.
            tiers: who takes part, ready to answer.
            guards: of all configurations.
            paces: of all models.
            company: with how many others it shares its passes.

        Raises:
            RouterProfileError: the gear's router was made for other tiers.
        """
        self._prompt = request.prompt
        self._config = request.config.optimization.cascade
        self._largest = tiers.largest
        self._attempts = tiers.attempts
        self._unavailable = list(tiers.unavailable)
        self._routers = self._make_routers()
        self._paces = paces
        self._company = company
        self._guards = self._choose_guards(request, guards)
        self._states: list[GuardState] = []
        self._asked: list[AnyAttempt] = []
        """The tiers that the prompt came to."""
        self._fell_back = False
        """Whether another tier answered than was to, because that could not be asked or broke off: guards learn nothing
        from it."""

    def recording(self, attempt: AnyAttempt) -> Recording:
        """What the recorder must know of a tier that begins to answer."""
        return attempt.recording(str(attempt.tier) if self._config else None)

    def run(
        self, recorder: RunRecorder, write: Callable[[AnyAttempt, TokenSink], Steps[None]]
    ) -> Steps[tuple[AnyAttempt, CascadeReport | None]]:
        """Answer.

        Args:
            recorder: of the request; the first tier's answer has begun.
            write: lets a tier write its answer to a sink.

        Returns:
            Whose answer is kept, and how it came to that; no report with the gear off.

        Raises:
            RemoteError: the last tier that could be asked could not, or broke off its answer.
        """
        reports: list[TierAttempt] = []
        routing_s = 0.0
        place, begun = 0, recorder.elapsed_s
        while True:
            attempt, router = self._attempts[place], self._routers[place]
            self._asked.append(attempt)
            if place:
                recorder.begin(**self.recording(attempt))
            threshold = router.boundary.threshold
            if self._passes_over(attempt) and (above := (yield from self._reach(place + 1, recorder))):
                reports.append(TierAttempt(tier=str(attempt.tier), kept=False, passed_over=True, threshold=threshold))
                self._go_on(attempt, self._attempts[above[0]], recorder, None, threshold, passed_over=True)
                place, begun = above
                continue
            judgement = Judgement(router, self._prompt, attempt.prompt_tokens, recorder)
            try:
                if not judgement.escalated:
                    yield from write(attempt, judgement.sink)
                is_kept, broke_off = not judgement.conclude(), None
            except RemoteError as error:
                is_kept, broke_off, self._fell_back = False, error, True
                self._unavailable.append(str(error))
            routing_s += judgement.routing_s
            seconds = _took_s(attempt, begun, recorder)
            above = None if is_kept else (yield from self._reach(place + 1, recorder))
            if above is None and broke_off is not None:
                raise broke_off
            if above is None and not is_kept:  # nobody else is there: what it wrote, or writes now, is the answer
                is_kept = self._fell_back = True
                if recorder.finish_reason == "abort":
                    yield from self._write_all(attempt, recorder, write)
                    seconds = _took_s(attempt, begun, recorder)
            reports.append(self._report_attempt(attempt, judgement, recorder, seconds, kept=is_kept))
            if above is None:
                break
            if broke_off is None:
                self._observe_pace(attempt, seconds, recorder)
            score = judgement.prompt_score if judgement.answer_score is None else judgement.answer_score
            self._go_on(attempt, self._attempts[above[0]], recorder, score, judgement.threshold)
            place, begun = above
        return attempt, self._conclude(attempt, reports, routing_s, recorder)

    def _write_all(
        self, attempt: AnyAttempt, recorder: RunRecorder, write: Callable[[AnyAttempt, TokenSink], Steps[None]]
    ) -> Steps[None]:
        """Have a tier write its whole answer that was to be escalated, and cannot be. A part of it is written anew."""
        if recorder.tokens:
            self._go_on(attempt, attempt, recorder, None, NEVER)
            recorder.begin(**self.recording(attempt))
        yield from write(attempt, recorder)

    def _reach(self, place: int, recorder: RunRecorder) -> Steps[tuple[int, float] | None]:
        """The next tier that can be asked, from a place up: a server's only once it begins to answer, so that nothing
        is thrown away for one that is down.

        Returns:
            Its place, and when it was asked, by the run's clock; ``None`` if there is none.
        """
        for at in range(place, len(self._attempts)):
            begun, attempt = recorder.elapsed_s, self._attempts[at]
            if isinstance(attempt, Attempt):
                return at, begun
            error = yield from attempt.reach(recorder.cancelled)
            if error is None:
                return at, begun
            self._unavailable.append(str(error))
        return None

    def _make_routers(self) -> tuple[Router, ...]:
        """One for each tier; the last never escalates."""
        if self._config is None:
            return (AlwaysSmall(),)
        return routers_of(self._config, {attempt.place: attempt.identity for attempt in self._attempts})

    def _choose_guards(self, request: GenerationRequest, guards: Guards) -> dict[int, Guard]:
        """Those of the tiers that may be passed over, by place.

        One that a threshold keeps from ever going on is not: that was asked for. Nor are yardsticks, which look at
        nothing and are there to be measured, nor any tier where the largest model cannot take over.
        """
        cascade, last = self._config, self._attempts[-1]
        if cascade is None or not cascade.guard or request.unguarded or last.request is not self._largest:
            return {}
        configuration = (request.config.model, request.config.optimization)
        share = 1 / len(cascade.smaller)
        return {
            attempt.place: guards.of(configuration, str(attempt.tier), share)
            for attempt, router in zip(self._attempts[:-1], self._routers, strict=False)
            if (router.reads_prompt or router.reads_answer) and router.boundary.threshold < NEVER
        }

    def _passes_over(self, attempt: AnyAttempt) -> bool:
        """Whether a tier's guard sends the prompt on without a try."""
        guard = self._guards.get(attempt.place)
        if guard is None:
            return False
        is_tried = guard.choose()
        self._states.append(guard.state)
        return not is_tried

    def _go_on(
        self,
        attempt: AnyAttempt,
        following: AnyAttempt,
        recorder: RunRecorder,
        score: float | None,
        threshold: float,
        *,
        passed_over: bool = False,
    ) -> None:
        """Throw a tier's answer away, if it has one; it drafts for the next tier if that reads the same tokens."""
        if isinstance(attempt, RemoteAttempt):
            attempt.give_up()
        reads_alike = attempt.fingerprint == following.fingerprint
        if isinstance(attempt, Attempt) and isinstance(following, Attempt) and reads_alike:
            following.draft_answer = attempt.draft_answer if passed_over else recorder.token_ids
        recorder.discard(
            lambda discarded: Escalated(
                from_tier=str(attempt.tier),
                to_tier=str(following.tier),
                score=score,
                threshold=threshold,
                discarded_tokens=discarded,
                passed_over=passed_over,
            )
        )

    def _report_attempt(
        self, attempt: AnyAttempt, judgement: Judgement, recorder: RunRecorder, seconds: float, *, kept: bool
    ) -> TierAttempt:
        tokens = recorder.tokens
        return TierAttempt(
            tier=str(attempt.tier),
            kept=kept,
            prompt_score=judgement.prompt_score,
            answer_score=judgement.answer_score,
            threshold=None if attempt is self._attempts[-1] else judgement.threshold,
            prompt_tokens=attempt.prompt_tokens or None,  # there is no prompt without a token
            seconds=seconds,
            text=recorder.text,
            token_ids=recorder.token_ids,
            token_texts=tuple(token.text for token in tokens),
            logprobs=tuple(token.logprob for token in tokens),
            margins=tuple(math.nan if token.margin is None else token.margin for token in tokens),
        )

    def _conclude(
        self, kept: AnyAttempt, attempts: Sequence[TierAttempt], routing_s: float, recorder: RunRecorder
    ) -> CascadeReport | None:
        """Report, and let guards and paces learn from it. An answer that was cut short teaches nothing."""
        cancelled = recorder.finish_reason == "abort"
        salvaged_s = kept.salvaged_s() if isinstance(kept, Attempt) else 0.0
        slower = 1.0 if cancelled else self._observe_pace(kept, attempts[-1].seconds + salvaged_s, recorder)
        if self._config is None:
            return None
        answered_by_largest = kept.request is self._largest
        large_s = None
        if not cancelled and not self._fell_back:
            large_s = attempts[-1].seconds + salvaged_s if answered_by_largest else self._derive(kept, recorder, slower)
        if large_s is not None:
            self._observe(attempts, large_s, salvaged_s)
        if answered_by_largest and not cancelled:
            self._observe_lengths(attempts)
        return CascadeReport(
            router=self._config.router,
            attempts=tuple(attempts),
            routing_s=routing_s,
            discarded_tokens=recorder.discarded_tokens,
            salvaged_tokens=kept.reused_draft_tokens() if isinstance(kept, Attempt) else 0,
            unavailable=tuple(self._unavailable),
            large_alone_s=large_s,
            derived=large_s is not None and not answered_by_largest,
            guards=tuple(self._states),
        )

    def _observe_pace(self, attempt: AnyAttempt, seconds: float, recorder: RunRecorder) -> float:
        """A tier has written.

        Returns:
            How many times longer it took than it usually does: what held it up would have held up another model too.
        """
        if not recorder.tokens:
            return 1.0
        config, tokens = attempt.request.config, len(recorder.tokens)
        read_tokens = max(0, attempt.prompt_tokens - recorder.cached_tokens)
        read_s = recorder.prefill_s if isinstance(attempt, Attempt) else attempt.read_s
        pace = self._paces.of(config.model, config.optimization)
        usual_s = pace.seconds(read_tokens, tokens, None)
        if not self._company.is_shared:  # else it says nothing of the model alone
            pace.observe(read_tokens, read_s, tokens, seconds)
        return min(max(seconds / usual_s, 1 / _MOST_SLOWER), _MOST_SLOWER) if usual_s else 1.0

    def _derive(self, kept: AnyAttempt, recorder: RunRecorder, slower: float) -> float | None:
        """What the largest model would have taken, had as much of the prompt been kept for it and had it been held up
        as much; ``None`` where nothing is known of its speed. Its answer is taken to be as long as this one, or shorter
        where its answers have been."""
        last, config = self._attempts[-1], self._largest.config
        present = last if last.request is self._largest else None
        lengths = self._paces.lengths(str(kept.tier), str(config.ladder[-1]))
        prompt_tokens = (present.prompt_tokens if present else 0) or kept.prompt_tokens
        usual_s = self._paces.of(config.model, config.optimization).seconds(
            max(1, prompt_tokens - recorder.cached_tokens),
            round(len(recorder.tokens) * lengths.ratio),
            _step_times(present),
        )
        return None if usual_s is None else usual_s * slower

    def _observe_lengths(self, attempts: Sequence[TierAttempt]) -> None:
        """The largest tier has answered what smaller ones tried: where they wrote whole answers, that compares them."""
        *tried, largest = attempts
        if self._config is None or self._config.after_tokens is not None:
            return
        for attempt in tried:
            if attempt.answer_score is not None and attempt.tokens:
                self._paces.lengths(attempt.tier, largest.tier).observe(attempt.tokens, largest.tokens)

    def _observe(self, attempts: Sequence[TierAttempt], large_s: float, salvaged_s: float) -> None:
        """Let the guards know what came of the prompt."""
        last_tried = max((place for place, each in enumerate(attempts[:-1]) if not each.passed_over), default=-1)
        for index, (attempt, report) in enumerate(zip(self._asked, attempts, strict=True)):
            guard = self._guards.get(attempt.place)
            if guard is None:
                continue
            if report.passed_over:
                guard.observe_passed(large_s)
            elif report.kept:
                guard.observe_kept(report.seconds, large_s)
            else:
                guard.observe_lost(report.seconds - (salvaged_s if index == last_tried else 0.0), large_s)


def _took_s(attempt: AnyAttempt, begun: float, recorder: RunRecorder) -> float:
    """Since a tier began, by the run's clock, but for what a server's counters took."""
    return recorder.elapsed_s - begun - (attempt.aside_s if isinstance(attempt, RemoteAttempt) else 0.0)


def _step_times(attempt: AnyAttempt | None) -> StepTimes | None:
    """What passes of a tier's model took when they were timed; nobody knows a server's."""
    if attempt is None or not isinstance(attempt, Attempt) or attempt.model.stepwise is None:
        return None
    return attempt.model.stepwise.step_times()
