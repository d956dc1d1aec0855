"""What a router makes of one tier's answer while it is written. In the engine's thread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes import c_int32
from time import perf_counter
from typing import Literal

from engine.cascade import Router, TierAnswer, escalates
from engine.cascade.routing.scores import Floats
from engine.generation.choice import Choice
from engine.generation.recorder import RunRecorder
from engine.generation.recording import TokenSink
from engine.types import FinishReason


class Judgement:
    """Decides whether a tier's answer is kept or escalated. A token sink in front of the recorder: it lets the router
    look at what is written when it is due, and ends an answer that is escalated before it is whole."""

    def __init__(self, router: Router, prompt: str, prompt_tokens: int, recorder: RunRecorder) -> None:
        """Judge what can be before the tier writes anything.

        Args:
            router: of the boundary above the tier.
            prompt: the user's text.
            prompt_tokens: of all that the tier reads.
            recorder: of the tier's answer.
        """
        self.threshold = router.boundary.threshold
        """Scores from here up are escalated."""
        self.escalated = router.fixed
        """``None`` while it is not decided."""
        self.score: float | None = None
        """What is compared with the threshold; ``None`` while nothing was scored, NaN where it is unknown."""
        self.routing_s = 0.0
        """Seconds spent on judging."""
        self._router = router
        self._looks = router.looks
        self._scored: list[Floats] = []
        self._prompt = prompt
        self._prompt_tokens = prompt_tokens
        self._recorder = recorder
        self._hidden: tuple[float, ...] = ()
        self._look_after = self._next_look()
        """Tokens after which the next look is due; ``None`` for one at the end, or if there is none."""
        if self._look_after == 0:
            self._look("length")

    @property
    def prompt_score(self) -> float | None:
        """The score of the prompt; ``None`` where that was not judged."""
        return self._score("prompt")

    @property
    def answer_score(self) -> float | None:
        """The score of what was written; ``None`` where that was not judged."""
        return self._score("answer")

    @property
    def sink(self) -> TokenSink:
        """What the tier writes to."""
        return self if self.escalated is None else self._recorder

    def cancelled(self) -> bool:
        return self._recorder.cancelled()

    def prefilled(self, cached_tokens: int, computed_tokens: int, hidden: tuple[float, ...]) -> None:
        self._hidden = hidden
        self._recorder.prefilled(cached_tokens, computed_tokens, hidden)

    @property
    def interrupt(self) -> c_int32:
        return self._recorder.interrupt

    @property
    def most(self) -> int:
        """Tokens up to the next look, so that no text is scored that is longer than the router was made for."""
        most = self._recorder.most
        return most if self._look_after is None else max(1, min(most, self._look_after - len(self._recorder.tokens)))

    def take(self, choices: Sequence[Choice]) -> tuple[int, bool]:
        for at, choice in enumerate(choices, start=1):
            _, goes_on = self._recorder.take([choice])
            if goes_on and self._look_after == len(self._recorder.tokens):
                self._look("length")
                goes_on = not self.escalated
            if not goes_on:
                return at, False
        return len(choices), True

    def conclude(self) -> bool:
        """Decide, now that the tier has ended its answer. One that was cancelled unjudged is kept.

        Returns:
            Whether it is escalated.
        """
        if self.escalated is None and self._recorder.cancelled():
            return False
        while self.escalated is None:
            self._look(self._recorder.finish_reason)
        return self.escalated

    def _look(self, finish_reason: FinishReason) -> None:
        begun = perf_counter()
        answer = TierAnswer.from_tokens(
            self._recorder.text,
            self._recorder.tokens,
            finish_reason,
            prompt_tokens=self._prompt_tokens,
            hidden=self._hidden,
        )
        self._scored.append(self._router.score_at(self._looks[len(self._scored)], [self._prompt], [answer]))
        score = self._router.combine(self._scored)
        self.score = float(score[0])
        if len(self._scored) == len(self._looks) or not math.isnan(self.score):
            self.escalated = bool(escalates(score, self.threshold)[0])
        self._look_after = self._next_look()
        self.routing_s += perf_counter() - begun

    def _next_look(self) -> int | None:
        return self._looks[len(self._scored)].tokens if self.escalated is None else None

    def _score(self, at: Literal["prompt", "answer"]) -> float | None:
        looks = zip(self._looks, self._scored, strict=False)
        return next((float(score[0]) for look, score in looks if look.at == at), None)
