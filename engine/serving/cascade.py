"""A cascade: the tiers of one request, and the loop that asks one after the other. In the engine's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.cascade import AlwaysSmall, Guard, Guards, Router, TierIdentity, routers_of
from engine.generation.recorder import RunRecorder, TokenSink
from engine.passes import Steps
from engine.serving.attempt import Attempt, Recording
from engine.serving.counterfactual import Paces
from engine.serving.judgement import Judgement
from engine.serving.scheduling.jobs import Company
from engine.serving.tiers import Tiers
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
        self._unavailable = tuple(tiers.unavailable)
        self._routers = self._make_routers()
        self._paces = paces
        self._company = company
        self._guards = self._choose_guards(request, guards)
        self._states: list[GuardState] = []

    def recording(self, attempt: Attempt) -> Recording:
        """What the recorder must know of a tier that begins to answer."""
        return attempt.recording(str(attempt.tier) if self._config else None)

    def run(
        self, recorder: RunRecorder, write: Callable[[Attempt, TokenSink], Steps[None]]
    ) -> Steps[tuple[Attempt, CascadeReport | None]]:
        """Answer.

        Args:
            recorder: of the request; the first tier's answer has begun.
            write: lets a tier write its answer to a sink.

        Returns:
            Whose answer is kept, and how it came to that; no report with the gear off.
        """
        reports: list[TierAttempt] = []
        routing_s = 0.0
        for index, (attempt, router) in enumerate(zip(self._attempts, self._routers, strict=True)):
            if index:
                recorder.begin(**self.recording(attempt))
            if self._passes_over(attempt):
                threshold = router.boundary.threshold
                reports.append(TierAttempt(tier=str(attempt.tier), kept=False, passed_over=True, threshold=threshold))
                self._go_on(attempt, self._attempts[index + 1], recorder, None, threshold, passed_over=True)
                continue
            begun = recorder.elapsed_s
            judgement = Judgement(router, self._prompt, len(attempt.prompt_ids), recorder)
            if not judgement.escalated:
                yield from write(attempt, judgement.sink)
            is_kept = not judgement.conclude()
            routing_s += judgement.routing_s
            reports.append(self._report_attempt(attempt, judgement, recorder, begun, kept=is_kept))
            if is_kept:
                break
            self._observe_pace(attempt, reports[-1].seconds, recorder)
            score = judgement.prompt_score if judgement.answer_score is None else judgement.answer_score
            self._go_on(attempt, self._attempts[index + 1], recorder, score, judgement.threshold)
        return attempt, self._conclude(attempt, reports, routing_s, recorder)

    def _make_routers(self) -> tuple[Router, ...]:
        """One for each tier; the last never escalates."""
        if self._config is None:
            return (AlwaysSmall(),)
        present = {
            attempt.place: TierIdentity(
                model=attempt.tier.model,
                precision=attempt.tier.precision,
                weights_sha256=attempt.opened.checkpoint.weights_sha256,
            )
            for attempt in self._attempts
        }
        return routers_of(self._config, present)

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

    def _passes_over(self, attempt: Attempt) -> bool:
        """Whether a tier's guard sends the prompt on without a try."""
        guard = self._guards.get(attempt.place)
        if guard is None:
            return False
        is_tried = guard.choose()
        self._states.append(guard.state)
        return not is_tried

    def _go_on(
        self,
        attempt: Attempt,
        following: Attempt,
        recorder: RunRecorder,
        score: float | None,
        threshold: float,
        *,
        passed_over: bool = False,
    ) -> None:
        """Throw a tier's answer away, if it has one; it drafts for the next tier if that reads the same tokens."""
        if attempt.opened.tokenizer.fingerprint == following.opened.tokenizer.fingerprint:
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
        self, attempt: Attempt, judgement: Judgement, recorder: RunRecorder, begun: float, *, kept: bool
    ) -> TierAttempt:
        tokens = recorder.tokens
        return TierAttempt(
            tier=str(attempt.tier),
            kept=kept,
            prompt_score=judgement.prompt_score,
            answer_score=judgement.answer_score,
            threshold=None if attempt is self._attempts[-1] else judgement.threshold,
            prompt_tokens=len(attempt.prompt_ids),
            seconds=recorder.elapsed_s - begun,
            text=recorder.text,
            token_ids=recorder.token_ids,
            token_texts=tuple(token.text for token in tokens),
            logprobs=tuple(token.logprob for token in tokens),
            margins=tuple(token.margin or 0.0 for token in tokens),
        )

    def _conclude(
        self, kept: Attempt, attempts: Sequence[TierAttempt], routing_s: float, recorder: RunRecorder
    ) -> CascadeReport | None:
        """Report, and let guards and paces learn from it. An answer that was cut short teaches nothing."""
        cancelled = recorder.finish_reason == "abort"
        salvaged_s = kept.salvaged_s()
        slower = 1.0 if cancelled else self._observe_pace(kept, attempts[-1].seconds + salvaged_s, recorder)
        if self._config is None:
            return None
        answered_by_largest = kept.request is self._largest
        large_s = None
        if not cancelled:
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
            salvaged_tokens=kept.reused_draft_tokens(),
            unavailable=self._unavailable,
            large_alone_s=large_s,
            derived=large_s is not None and not answered_by_largest,
            guards=tuple(self._states),
        )

    def _observe_pace(self, attempt: Attempt, seconds: float, recorder: RunRecorder) -> float:
        """A tier has written.

        Returns:
            How many times longer it took than it usually does: what held it up would have held up another model too.
        """
        if not recorder.tokens:
            return 1.0
        config, tokens = attempt.request.config, len(recorder.tokens)
        read_tokens = len(attempt.prompt_ids) - recorder.cached_tokens
        pace = self._paces.of(config.model, config.optimization)
        usual_s = pace.seconds(read_tokens, tokens, None)
        if not self._company.is_shared:  # else it says nothing of the model alone
            pace.observe(read_tokens, recorder.prefill_s, tokens, seconds)
        return min(max(seconds / usual_s, 1 / _MOST_SLOWER), _MOST_SLOWER) if usual_s else 1.0

    def _derive(self, kept: Attempt, recorder: RunRecorder, slower: float) -> float | None:
        """What the largest model would have taken, had as much of the prompt been kept for it and had it been held up
        as much; ``None`` where nothing is known of its speed. Its answer is taken to be as long as this one, or shorter
        where its answers have been."""
        last, config = self._attempts[-1], self._largest.config
        present = last if last.request is self._largest else None
        lengths = self._paces.lengths(str(kept.tier), str(config.ladder[-1]))
        prompt_tokens = len((present or kept).prompt_ids)
        usual_s = self._paces.of(config.model, config.optimization).seconds(
            max(1, prompt_tokens - recorder.cached_tokens),
            round(len(recorder.tokens) * lengths.ratio),
            present.model.stepwise.step_times() if present and present.model.stepwise else None,
        )
        return None if usual_s is None else usual_s * slower

    def _observe_lengths(self, attempts: Sequence[TierAttempt]) -> None:
        """The largest tier has answered what smaller ones tried: where they wrote whole answers, that compares them."""
        *tried, largest = attempts
        if self._config is None or self._config.after_tokens is not None:
            return
        for attempt in tried:
            if attempt.answer_score is not None and attempt.token_ids:
                self._paces.lengths(attempt.tier, largest.tier).observe(len(attempt.token_ids), len(largest.token_ids))

    def _observe(self, attempts: Sequence[TierAttempt], large_s: float, salvaged_s: float) -> None:
        """Let the guards know what came of the prompt."""
        last_tried = max((place for place, each in enumerate(attempts[:-1]) if not each.passed_over), default=-1)
        for index, (attempt, report) in enumerate(zip(self._attempts, attempts, strict=False)):
            guard = self._guards.get(attempt.place)
            if guard is None:
                continue
            if report.passed_over:
                guard.observe_passed(large_s)
            elif report.kept:
                guard.observe_kept(report.seconds, large_s)
            else:
                guard.observe_lost(report.seconds - (salvaged_s if index == last_tried else 0.0), large_s)
