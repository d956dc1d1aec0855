"""A scripted engine whose small tier is not sure, and the reports of cascades."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from engine.types import (
    CascadeConfig,
    CascadeReport,
    Escalated,
    Event,
    GenerationRequest,
    Precision,
    RouterKind,
    RunFinished,
    Tier,
    TierAttempt,
    TokenEvent,
)
from tests.support.fakes import FakeEngine, FakeGeneration

SMALL = Tier(model="smollm2-135m", precision=Precision.INT4)
CASCADE = CascadeConfig(smaller=(SMALL,), thresholds=(0.3,))


def make_cascade_report(
    *, went_up: bool = True, small: str = "No idea .", large: str = "m bf16", **changed: Any
) -> CascadeReport:
    """A plausible report of one small tier whose answer, a token a word, was judged; and of a large one."""
    words = tuple(small.split())
    first = TierAttempt(
        tier=str(SMALL),
        kept=not went_up,
        answer_score=0.62 if went_up else 0.12,
        threshold=0.3,
        seconds=0.25,
        text=small,
        token_ids=tuple(range(len(words))),
        token_texts=words,
        logprobs=(-0.5,) * len(words),
        margins=tuple(0.5 + 2.0 * place for place in range(len(words))),
    )
    second = TierAttempt(
        tier=large, kept=True, seconds=0.5, text="Light.", token_ids=(1, 2), token_texts=("Light", ".")
    )
    figures: dict[str, Any] = {
        "router": RouterKind.ESCALATE,
        "attempts": (first, second) if went_up else (first,),
        "routing_s": 0.0002,
        "discarded_tokens": len(words) if went_up else 0,
        "salvaged_tokens": 0,
    }
    return CascadeReport(**{**figures, **changed})


class CascadingEngine(FakeEngine):
    """An engine whose small tier writes a line before the large one answers, where the cascading gear is on.

    Args:
        small: what the small tier writes, a token a word.
        tokens, gate: as for `FakeEngine`.
    """

    def __init__(
        self, small: str = "No idea .", *, tokens: Sequence[str] = ("Yes", ",", " light."), gate: Any = None
    ) -> None:
        super().__init__(tokens, gate=gate)
        self.small = small

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        """Answer with the script, after the small tier's."""
        self.requests.append(request)
        generation = _CascadingGeneration(self, request)
        self.generations.append(generation)
        return generation


class _CascadingGeneration(FakeGeneration):
    def _script(self) -> Iterator[Event]:
        cascade = self._request.config.optimization.cascade
        if cascade is None:
            yield from super()._script()
            return
        assert isinstance(self._engine, CascadingEngine)
        large = str(self._request.config.ladder[-1])
        report = make_cascade_report(small=self._engine.small, large=large)
        first, second = report.attempts
        report = replace(report, attempts=(first, replace(second, seconds=0.03)), large_alone_s=0.03)
        tried_s = first.seconds
        for place, text in enumerate(report.attempts[0].token_texts):
            yield TokenEvent(place, text, 0.01 * place, -0.5, 1.0, tier=str(SMALL))
        yield Escalated(
            from_tier=str(SMALL), to_tier=large, score=0.62, threshold=0.3, discarded_tokens=report.discarded_tokens
        )
        for event in super()._script():
            if isinstance(event, TokenEvent):
                yield replace(event, t=event.t + tried_s)
            elif isinstance(event, RunFinished) and event.metrics:
                measured = event.metrics
                metrics = replace(
                    measured,
                    ttft_s=None if measured.ttft_s is None else measured.ttft_s + tried_s,
                    e2e_s=measured.e2e_s + tried_s,
                    discarded_tokens=report.discarded_tokens,
                )
                yield replace(event, metrics=metrics, cascade=report)
            else:
                yield event
