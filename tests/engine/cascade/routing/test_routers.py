"""What each kind of router is, and what it makes of recorded prompts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.cascade.routing.routers import BoundaryRouter, Look, router_class
from engine.cascade.routing.scores import LogisticWeights, SureBand
from engine.types import NEVER, RouterKind
from tests.support.cascade import STRONG, WEAK, answer, prompt, recorded


def telling(feature: str) -> LogisticWeights:
    return LogisticWeights(features=(feature,), mean=(0.0,), scale=(1.0,), coef=(1.0,), intercept=0.0)


TEXT_ONLY = BoundaryRouter(threshold=NEVER, prompt_weights=telling("log_words"))
READING = BoundaryRouter(threshold=NEVER)


@pytest.mark.parametrize("kind", list(RouterKind))
def test_every_kind_is_a_class_that_says_so(kind: RouterKind) -> None:
    router = router_class(kind)
    assert router.kind is kind
    assert router.deployable is (kind is not RouterKind.ORACLE)


@pytest.mark.parametrize(
    ("kind", "boundary", "after_tokens", "looks"),
    [
        (RouterKind.ROUTE, TEXT_ONLY, None, [Look("prompt", 0)]),
        (RouterKind.ROUTE, READING, None, [Look("prompt", 1)]),
        (RouterKind.ESCALATE, READING, None, [Look("answer", None)]),
        (RouterKind.ESCALATE, READING, 4, [Look("answer", 4)]),
        (RouterKind.HYBRID, TEXT_ONLY, None, [Look("prompt", 0), Look("answer", None)]),
        (RouterKind.RANDOM, READING, None, [Look("prompt", 0)]),
        (RouterKind.ALWAYS_SMALL, READING, None, []),
        (RouterKind.ALWAYS_LARGE, READING, None, []),
    ],
)
def test_when_a_router_looks_at_what(
    kind: RouterKind, boundary: BoundaryRouter, after_tokens: int | None, looks: list[Look]
) -> None:
    assert list(router_class(kind)(boundary=boundary, after_tokens=after_tokens).looks) == looks


def test_a_router_that_reads_texts_alone_needs_no_answers() -> None:
    unanswered = [replace(each, answers={}) for each in recorded(5)]
    for kind in (RouterKind.ROUTE, RouterKind.RANDOM):
        judged = router_class(kind)(boundary=TEXT_ONLY).judge(unanswered, WEAK, STRONG)
        assert np.isfinite(judged.score).all()
        assert judged.tried_s.tolist() == [0.0] * 5


def test_a_hybrid_tries_nothing_where_the_prompt_is_escalated_at_once() -> None:
    pairs = [prompt("a", answer(), answer(), text=text) for text in ("Hi", "one two three four five six", "one two")]
    judged = router_class(RouterKind.HYBRID)(
        boundary=replace(TEXT_ONLY, band=SureBand(keep_below=0.7, up_from=0.85))
    ).judge(pairs, WEAK, STRONG)
    of_answer = router_class(RouterKind.ESCALATE)().judge(pairs[2:], WEAK, STRONG).score[0]
    assert judged.score.tolist() == [0.0, 1.0, of_answer]
    assert judged.tried_s.tolist() == [1.0, 0.0, 1.0]


def test_a_draw_is_another_one_at_each_boundary() -> None:
    pairs = recorded(20)
    first, second = (router_class(RouterKind.RANDOM)(place=place).judge(pairs, WEAK, STRONG).score for place in (0, 1))
    assert not np.array_equal(first, second)


def test_the_oracle_knows_how_right_both_answers_are() -> None:
    pairs = [prompt("a", answer(0.0), answer(1.0)), prompt("b", answer(1.0), answer(0.0))]
    assert router_class(RouterKind.ORACLE)().judge(pairs, WEAK, STRONG).score.tolist() == [1.0, 0.0]
