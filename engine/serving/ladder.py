"""The tiers of one request, and its way up them. In the engine's thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engine.backends.base import LoadedModel
from engine.cascade import TierIdentity
from engine.generation.recorder import RunRecorder, TokenSink
from engine.serving.attempt import Attempt
from engine.serving.cascading import Judgement, Router, Watched
from engine.types import (
    CascadeReport,
    Drafter,
    Escalated,
    GenerationRequest,
    OptimizationConfig,
    SpeculationConfig,
    Tier,
    TierAttempt,
)


class Ladder:
    """A request's tiers, from the smallest up; the model alone with the gear off."""

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._cascade = request.config.optimization.cascade
        self.attempts: list[Attempt] = []
        """Tiers that take part."""
        self.unavailable: list[str] = []
        """Tiers that cannot, with the reason."""
        self.tokenizing_s = 0.0
        """Seconds spent on the prompt while the tiers were loaded."""
        self._left: list[TierAttempt] = []
        self._router: Router | None = None
        self._salvaged = 0

    def tiers(self) -> Iterator[GenerationRequest]:
        """The request as it is asked of each tier."""
        request = self._request
        if self._cascade is None:
            yield request
            return
        *smaller, largest = request.config.ladder
        names = {str(tier) for tier in request.config.ladder}
        kept = request.last_tier if self._cascade.keep_tier and request.last_tier in names else None
        for tier in (*smaller, largest):
            if kept not in (None, str(tier)):
                continue
            gears = request.config.optimization
            speculation = _fitting(gears.speculation, tier, is_largest=tier == largest)
            optimization = OptimizationConfig.at(
                tier.precision, gears.cache_mode, gears.kv_dtype, gears.window, speculation
            )
            yield replace(request, config=replace(request.config, model=tier.model, optimization=optimization))

    def check(self) -> None:
        """All tiers that can are there.

        Raises:
            RouterProfileError: the router was made for others.
        """
        if self._cascade is None or len(self.attempts) < 2:
            return
        present = {
            self._boundary(place): TierIdentity(
                model=attempt.request.config.model,
                precision=attempt.request.config.precision,
                weights_sha256=attempt.opened.checkpoint.weights_sha256,
            )
            for place, attempt in enumerate(self.attempts)
        }
        self._router = Router(self._cascade, self._request, present)

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """What must stay in memory while the request lasts."""
        return tuple(model for attempt in self.attempts for model in attempt.models)

    def name(self, attempt: Attempt) -> str | None:
        """A tier as tokens name it; ``None`` with the gear off."""
        return self._tier(attempt) if self._cascade else None

    def first_look(self, place: int) -> Judgement | None:
        """What the router thinks before a tier writes; ``None`` for one that nothing lies above."""
        if self._router is None or place == len(self.attempts) - 1:
            return None
        return self._router.first_look(self._boundary(place))

    def sink(self, place: int, judgement: Judgement | None, recorder: RunRecorder) -> TokenSink:
        """What a tier writes to."""
        if judgement is None or self._router is None:
            return recorder
        return Watched(recorder, self._router, self._boundary(place), judgement)

    def goes_up(self, place: int, judgement: Judgement, recorder: RunRecorder) -> bool:
        """Whether the next tier is asked, now that this one has written what it was let write."""
        if judgement.goes_up is None and recorder.cancelled():
            return False
        assert self._router is not None  # it made the judgement
        return self._router.last_look(self._boundary(place), judgement, recorder)

    def leave(self, place: int, judgement: Judgement, recorder: RunRecorder, begun: float) -> None:
        """A tier's answer is thrown away, and drafts for the next if that reads the same tokens."""
        attempt, following = self.attempts[place], self.attempts[place + 1]
        self._left.append(self._told(attempt, judgement, recorder, begun, kept=False))
        if attempt.opened.tokenizer.fingerprint == following.opened.tokenizer.fingerprint:
            following.draft_answer = recorder.token_ids
        scores = (judgement.answer_score, judgement.prompt_score)
        recorder.discard(
            lambda discarded: Escalated(
                from_tier=self._tier(attempt),
                to_tier=self._tier(following),
                score=next((score for score in scores if score is not None), None),
                threshold=judgement.threshold,
                discarded_tokens=discarded,
            )
        )

    def report(
        self, attempt: Attempt, judgement: Judgement | None, recorder: RunRecorder, begun: float
    ) -> CascadeReport | None:
        """How it went, now that an answer is kept; ``None`` with the gear off."""
        if self._cascade is None:
            return None
        return CascadeReport(
            router=self._cascade.router,
            attempts=(*self._left, self._told(attempt, judgement, recorder, begun, kept=True)),
            routing_s=self._router.spent_s if self._router else 0.0,
            discarded_tokens=recorder.discarded_tokens,
            salvaged_tokens=attempt.salvaged_tokens(),
            unavailable=tuple(self.unavailable),
        )

    def _told(
        self, attempt: Attempt, judgement: Judgement | None, recorder: RunRecorder, begun: float, *, kept: bool
    ) -> TierAttempt:
        tokens = recorder.tokens
        return TierAttempt(
            tier=self._tier(attempt),
            kept=kept,
            prompt_score=judgement.prompt_score if judgement else None,
            answer_score=judgement.answer_score if judgement else None,
            threshold=judgement.threshold if judgement else None,
            prompt_tokens=len(attempt.prompt_ids),
            seconds=recorder.elapsed_s - begun,
            text=recorder.text,
            token_ids=recorder.token_ids,
            token_texts=tuple(token.text for token in tokens),
            logprobs=tuple(token.logprob for token in tokens),
            margins=tuple(token.margin or 0.0 for token in tokens),
        )

    def _boundary(self, place: int) -> int:
        """Of the configuration's ladder: tiers may be missing from this one."""
        names = [str(tier) for tier in self._request.config.ladder]
        return names.index(self._tier(self.attempts[place]))

    @staticmethod
    def _tier(attempt: Attempt) -> str:
        config = attempt.request.config
        return str(Tier(model=config.model, precision=config.precision))


def _fitting(speculation: SpeculationConfig | None, tier: Tier, *, is_largest: bool) -> SpeculationConfig | None:
    """The speculation gear for a tier: a drafter that was chosen for the largest may not suit a smaller one."""
    if speculation is None or speculation.drafter in (Drafter.AUTO, Drafter.NGRAM):
        return speculation
    if speculation.drafter is Drafter.DRAFT and not is_largest:
        return None
    return (
        None if speculation.draft_precision is tier.precision and speculation.drafter is Drafter.SELF else speculation
    )
