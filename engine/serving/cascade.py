"""A cascade: the tiers of one request, and the loop that asks one after the other. In the engine's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.backends.passes import Steps
from engine.cascade import AlwaysSmall, Router, TierIdentity, routers_of
from engine.generation.recorder import RunRecorder, TokenSink
from engine.serving.attempt import Attempt, Recording
from engine.serving.judgement import Judgement
from engine.serving.tiers import Tiers
from engine.types import CascadeReport, Escalated, GenerationRequest, TierAttempt


class Cascade:
    """The tiers of a request: each answers in turn, from the smallest up, until the router above it keeps the answer.
    With the gear off it is one tier, and nothing is above it."""

    def __init__(self, request: GenerationRequest, tiers: Tiers) -> None:
        """
        Args:
            request: what is asked.
            tiers: who takes part, ready to answer.

        Raises:
            RouterProfileError: the gear's router was made for other tiers.
        """
        self._prompt = request.prompt
        self._config = request.config.optimization.cascade
        self._attempts = tiers.attempts
        self._unavailable = tuple(tiers.unavailable)
        self._routers = self._make_routers()

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
            begun = recorder.elapsed_s
            judgement = Judgement(router, self._prompt, len(attempt.prompt_ids), recorder)
            if not judgement.escalated:
                yield from write(attempt, judgement.sink)
            is_kept = not judgement.conclude()
            routing_s += judgement.routing_s
            reports.append(self._report_attempt(attempt, judgement, recorder, begun, kept=is_kept))
            if is_kept:
                break
            self._escalate(attempt, self._attempts[index + 1], judgement, recorder)
        return attempt, self._report(attempt, reports, routing_s, recorder)

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

    def _escalate(self, attempt: Attempt, following: Attempt, judgement: Judgement, recorder: RunRecorder) -> None:
        """Throw a tier's answer away; it drafts for the next tier if that reads the same tokens."""
        if attempt.opened.tokenizer.fingerprint == following.opened.tokenizer.fingerprint:
            following.draft_answer = recorder.token_ids
        recorder.discard(
            lambda discarded: Escalated(
                from_tier=str(attempt.tier),
                to_tier=str(following.tier),
                score=judgement.prompt_score if judgement.answer_score is None else judgement.answer_score,
                threshold=judgement.threshold,
                discarded_tokens=discarded,
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

    def _report(
        self, kept: Attempt, attempts: Sequence[TierAttempt], routing_s: float, recorder: RunRecorder
    ) -> CascadeReport | None:
        if self._config is None:
            return None
        return CascadeReport(
            router=self._config.router,
            attempts=tuple(attempts),
            routing_s=routing_s,
            discarded_tokens=recorder.discarded_tokens,
            salvaged_tokens=kept.reused_draft_tokens(),
            unavailable=self._unavailable,
        )
