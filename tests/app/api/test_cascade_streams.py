"""Streams of cascades: what a larger tier may yet throw away is not told before that is decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest
from starlette.testclient import TestClient

from app.api.answering import Answer
from app.store import RunStore
from engine.types import (
    CascadeConfig,
    CascadeReport,
    Escalated,
    Event,
    GenerationRequest,
    Precision,
    PrefillDone,
    RouterKind,
    RunFinished,
    Started,
    Tier,
    TierAttempt,
    TokenEvent,
)
from tests.support.api import chat, events_of, said, serving
from tests.support.fakes import FakeEngine, make_metrics, make_request

SMALL, LARGE = "small int4", "smollm2-135m bf16"


def cascade(router: RouterKind = RouterKind.ESCALATE, after_tokens: int | None = None) -> CascadeConfig:
    tier = Tier(model="small", precision=Precision.INT4)
    return CascadeConfig(smaller=(tier,), thresholds=(0.5,), router=router, after_tokens=after_tokens)


def tokens(tier: str, *texts: str) -> list[TokenEvent]:
    return [TokenEvent(n, text, 0.01 * (n + 1), -0.5, 1.0, tier=tier) for n, text in enumerate(texts)]


def finished(text: str, tier: str) -> RunFinished:
    attempts = (TierAttempt(tier=tier, kept=True),)
    report = CascadeReport(
        router=RouterKind.ESCALATE, attempts=attempts, routing_s=0.0, discarded_tokens=0, salvaged_tokens=0
    )
    return RunFinished(text, (1, 2), "stop", make_metrics(), {}, cascade=report)


ESCALATED = Escalated(from_tier=SMALL, to_tier=LARGE, score=0.9, threshold=0.5, discarded_tokens=2)
BEGUN = (Started(prompt_tokens=3, queue_s=0.0, load_s=0.0), PrefillDone(0, 3))


class Script(Iterator[Event]):
    """Events as they were written down."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = iter(events)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def cancel(self) -> None:
        self.close()

    def close(self) -> None:
        self._events = iter(())


class ScriptedEngine(FakeEngine):
    """Tells every request the same events."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__()
        self.events = events

    def generate(self, request: GenerationRequest) -> Script:  # type: ignore[override]
        self.requests.append(request)
        return Script(self.events)


@pytest.mark.parametrize(
    ("events", "text", "tier"),
    [
        ([*tokens(SMALL, "wrong", " way"), ESCALATED, *tokens(LARGE, "right", " way")], "right way", LARGE),
        (tokens(SMALL, "right", " away"), "right away", SMALL),
    ],
)
def test_a_stream_tells_the_answer_that_was_kept_and_no_other(
    store: RunStore, models_dir: Path, events: list[Event], text: str, tier: str
) -> None:
    config = make_request(cascade=cascade()).config
    store.configurations.save(None, "ladder", config.to_dict(), warm=False)
    engine = ScriptedEngine([*BEGUN, *events, finished(text, tier)])
    with serving(engine, store, models_dir) as app, TestClient(app) as client:
        body = chat(model="gearbox/ladder")
        with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as streamed:
            assert said(events_of(streamed.iter_lines())) == text
            assert streamed.headers.get("x-gearbox-tier") in (None, tier)
        whole = client.post("/v1/chat/completions", json=body)
    assert whole.json()["choices"][0]["message"]["content"] == text
    assert whole.headers["x-gearbox-tier"] == tier


@pytest.mark.parametrize(
    ("router", "after_tokens", "sure_from"),
    [
        (RouterKind.ESCALATE, None, None),
        (RouterKind.HYBRID, None, None),
        (RouterKind.ESCALATE, 2, 3),
        (RouterKind.ROUTE, None, 2),
        (RouterKind.RANDOM, None, 1),
        (RouterKind.ALWAYS_SMALL, None, 1),
    ],
)
def test_a_smaller_tiers_tokens_are_sure_once_its_router_has_judged(
    router: RouterKind, after_tokens: int | None, sure_from: int | None
) -> None:
    answer = Answer(make_request(cascade=cascade(router, after_tokens)))
    sure = []
    for count, event in enumerate(tokens(SMALL, *"abcde"), start=1):
        answer.run.take(event)
        if answer.final_tokens():
            assert len(answer.final_tokens()) == count
            sure.append(count)
    assert sure == (list(range(sure_from, 6)) if sure_from else [])
    answer.over = True
    assert len(answer.final_tokens()) == 5


def test_the_largest_tiers_tokens_are_sure_at_once() -> None:
    answer = Answer(make_request(cascade=cascade()))
    for event in [*tokens(SMALL, "a", "b"), ESCALATED, *tokens(LARGE, "c")]:
        answer.run.take(event)
    assert [token.text for token in answer.final_tokens()] == ["c"]
