"""A tier's answer judged while it is written scores as it does once it is recorded, to the last bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes import c_int32
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.router.choosing.scoring import score_prompts
from engine.cascade import (
    BoundaryRouter,
    LogisticWeights,
    RoutedPrompt,
    SureBand,
    TierAnswer,
    escalates,
    router_class,
    tier_answer,
)
from engine.cascade.routing.signals import ANSWER_SIGNALS, PROMPT_FEATURES
from engine.generation.choice import Choice, Confidence
from engine.generation.recorder import RunRecorder
from engine.serving.judgement import Judgement
from engine.types import NEVER, Event, RouterKind

TIER, STOP = "small@int4", 0
HIDDEN = 3
ODD = st.floats(allow_nan=True, allow_infinity=True)
SCORING = (RouterKind.ROUTE, RouterKind.ESCALATE, RouterKind.HYBRID, RouterKind.RANDOM)
BROKEN = [math.nan, math.inf, -math.inf]


@dataclass(frozen=True)
class Written:
    """What a model writes to a prompt."""

    prompt: str
    token_ids: tuple[int, ...]
    confidences: tuple[Confidence, ...]
    hidden: tuple[float, ...] = ()


def recorder(written: Written, events: list[Event]) -> RunRecorder:
    return RunRecorder(
        emit=events.extend,
        is_cancelled=lambda: False,
        interrupt=c_int32(),
        decode=lambda ids: "".join(chr(ord("a") + token_id) for token_id in ids),
        stop_ids=frozenset({STOP}),
        control_tokens={},
        token_text=str,
        stop=(),
        max_tokens=len(written.token_ids),
        prompt_tokens=5,
        arrived=perf_counter(),
        queue_s=0.0,
        load_s=0.0,
        tier=None,
    )


def write(written: Written, sink: RunRecorder | Judgement) -> None:
    """As a backend does."""
    sink.prefilled(0, 5, written.hidden)
    tokens = zip(written.token_ids, written.confidences, strict=True)
    choices = [Choice(token_id, confidence, perf_counter()) for token_id, confidence in tokens]
    goes_on = True
    while choices and goes_on:
        taken, goes_on = sink.take(choices[: sink.most])
        choices = choices[taken:]


def record(written: Written) -> TierAnswer:
    """As the Router lab does: from the events of a run of its own."""
    events: list[Event] = []
    own = recorder(written, events)
    write(written, own)
    own.finish(
        weights_bytes=0,
        kv_bytes=0,
        peak_rss_bytes=0,
        environment={},
        cache=None,
        speculation=None,
        cascade=None,
        draft_rounds=(),
        disturbance=None,
        mean_batch_size=None,
    )
    recorded = tier_answer(events, lambda text: None)
    assert recorded is not None
    return recorded


def judge(written: Written, kind: RouterKind, boundary: BoundaryRouter, after_tokens: int | None) -> Judgement:
    """As a cascade does."""
    router = router_class(kind)(boundary=boundary, after_tokens=after_tokens)
    own = recorder(written, [])
    judgement = Judgement(router, written.prompt, 5, own)
    if not judgement.escalated:
        write(written, judgement.sink)  # type: ignore[arg-type]
    assert judgement.conclude() is judgement.escalated
    return judgement


def lab_scores(
    answers: Sequence[Written], kind: RouterKind, boundary: BoundaryRouter, after_tokens: int | None
) -> np.ndarray:
    prompts = [
        RoutedPrompt(prompt_id=str(index), category="", prompt=written.prompt, answers={TIER: record(written)})
        for index, written in enumerate(answers)
    ]
    return score_prompts(prompts, TIER, TIER, kind, boundary, after_tokens)[0]


def weights(names: Sequence[str], seed: int) -> LogisticWeights:
    rng = np.random.default_rng(seed)
    mean, scale, coef = (tuple(rng.uniform(0.1, 1.5, len(names)).tolist()) for _ in range(3))
    return LogisticWeights(features=tuple(names), mean=mean, scale=scale, coef=coef, intercept=-0.4)


@st.composite
def answers(draw: st.DrawFn) -> Written:
    ids = draw(st.lists(st.integers(1, 5), min_size=1, max_size=24))
    figure = st.floats(-20, 0)
    confidences = draw(st.lists(st.builds(Confidence, figure, figure, figure), min_size=len(ids), max_size=len(ids)))
    # few are odd: one is enough to leave a score unknown
    for at, name, value in draw(
        st.lists(st.tuples(st.integers(0, len(ids) - 1), st.sampled_from(Confidence._fields), ODD), max_size=2)
    ):
        confidences[at] = confidences[at]._replace(**{name: value})
    return Written(
        prompt=draw(st.sampled_from(["Hi", "What is 7 + 5?", "Explain why `def f()` is not one.\nReply with JSON."])),
        token_ids=(*ids[:-1], draw(st.sampled_from([ids[-1], STOP]))),
        confidences=tuple(confidences),
        hidden=draw(st.just(()) | st.tuples(*[figure] * HIDDEN) | st.tuples(*[figure | ODD] * HIDDEN)),
    )


@st.composite
def boundaries(draw: st.DrawFn) -> BoundaryRouter:
    read = ("prefill_entropy", *(f"hidden_{index}" for index in range(HIDDEN)))
    of_prompt = draw(st.sampled_from([None, PROMPT_FEATURES, (*PROMPT_FEATURES, *read), ("prefill_entropy",)]))
    of_answer = draw(st.none() | st.sets(st.sampled_from(ANSWER_SIGNALS), min_size=1).map(sorted))
    low, high = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return BoundaryRouter(
        threshold=draw(st.floats(0, 1) | st.just(NEVER)),
        prompt_weights=of_prompt and weights(of_prompt, 1),
        answer_weights=of_answer and weights(of_answer, 2),
        band=draw(st.none() | st.just(SureBand(keep_below=low, up_from=high))),
    )


@settings(deadline=None, max_examples=200)
@given(
    st.lists(answers(), min_size=1, max_size=5), st.sampled_from(SCORING), boundaries(), st.none() | st.integers(1, 20)
)
def test_an_answer_scores_the_same_while_it_is_written_and_once_it_is_recorded(
    written: list[Written], kind: RouterKind, boundary: BoundaryRouter, after_tokens: int | None
) -> None:
    judgements = [judge(each, kind, boundary, after_tokens) for each in written]
    scores = lab_scores(written, kind, boundary, after_tokens)
    np.testing.assert_array_equal([judgement.score for judgement in judgements], scores)
    assert [each.escalated for each in judgements] == escalates(scores, boundary.threshold).tolist()


def sure(tokens: int = 20, hidden: tuple[float, ...] = (0.5, -1.0, 2.0)) -> Written:
    return Written("Hi", (1,) * tokens, (Confidence(-0.1, 0.3, 4.0),) * tokens, hidden)


def with_broken(at: int, figure: str, value: float) -> Written:
    whole = sure()
    confidences = list(whole.confidences)
    confidences[at] = confidences[at]._replace(**{figure: value})
    return Written(whole.prompt, whole.token_ids, tuple(confidences), whole.hidden)


@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize(("figure", "signal"), [("logprob", "mean_logprob"), ("entropy", "max_entropy"),
                                                ("margin", "q10_margin")])  # fmt: skip
def test_one_figure_that_is_not_finite_leaves_the_answer_without_a_score_and_it_is_escalated(
    figure: str, signal: str, value: float
) -> None:
    boundary = BoundaryRouter(threshold=NEVER, answer_weights=weights([signal], 0))
    broken = with_broken(12, figure, value)
    judgement = judge(broken, RouterKind.ESCALATE, boundary, None)
    assert math.isnan(judgement.score or 0.0)
    assert judgement.escalated
    assert np.isnan(lab_scores([broken], RouterKind.ESCALATE, boundary, None)).all()
    # judged before that token, it is like any other
    early = judge(broken, RouterKind.ESCALATE, boundary, 12)
    assert early.score == judge(sure(), RouterKind.ESCALATE, boundary, 12).score
    assert not early.escalated


@pytest.mark.parametrize("value", BROKEN)
def test_a_state_or_a_first_entropy_that_is_not_finite_leaves_the_prompt_without_a_score(value: float) -> None:
    for feature, broken in (
        ("hidden_1", sure(hidden=(0.5, value, 2.0))),
        ("hidden_0", sure(hidden=(0.5, value, 2.0))),  # a state is known as a whole or not at all
        ("prefill_entropy", with_broken(0, "entropy", value)),
    ):
        boundary = BoundaryRouter(threshold=0.99, prompt_weights=weights([feature], 0))
        judgement = judge(broken, RouterKind.ROUTE, boundary, None)
        assert math.isnan(judgement.score or 0.0)
        assert judgement.escalated
        assert np.isnan(lab_scores([broken, sure()], RouterKind.ROUTE, boundary, None)).tolist() == [True, False]


def test_what_is_escalated_ends_at_the_look_that_decided() -> None:
    boundary = BoundaryRouter(threshold=0.0)
    for kind, after_tokens, tokens in (
        (RouterKind.ROUTE, None, 1),
        (RouterKind.ESCALATE, 4, 4),
        (RouterKind.ESCALATE, None, 20),
        (RouterKind.RANDOM, None, 0),
        (RouterKind.ALWAYS_LARGE, None, 0),
    ):
        events: list[Event] = []
        own = recorder(sure(), events)
        judgement = Judgement(router_class(kind)(boundary=boundary, after_tokens=after_tokens), "Hi", 5, own)
        if not judgement.escalated:
            write(sure(), judgement.sink)  # type: ignore[arg-type]
        assert judgement.conclude()
        assert len(own.tokens) == tokens


def test_a_hybrid_decides_by_the_prompt_where_that_is_sure_and_else_by_the_answer() -> None:
    def of(keep_below: float, up_from: float) -> Judgement:
        band = SureBand(keep_below=keep_below, up_from=up_from)
        boundary = BoundaryRouter(threshold=0.5, prompt_weights=weights(["log_words"], 0), band=band)
        return judge(sure(), RouterKind.HYBRID, boundary, None)

    at_once, kept, tried = of(0.0, 0.0), of(1.0, 1.0), of(0.0, 1.0)
    assert (at_once.score, at_once.answer_score, at_once.escalated) == (1.0, None, True)
    assert (kept.score, kept.answer_score, kept.escalated) == (0.0, None, False)
    assert tried.score == tried.answer_score == pytest.approx(1 - math.exp(-0.1))
    assert tried.prompt_score == at_once.prompt_score == kept.prompt_score


def test_cancelled_before_it_was_judged_an_answer_is_kept() -> None:
    own = recorder(sure(), [])
    judgement = Judgement(router_class(RouterKind.ESCALATE)(boundary=BoundaryRouter(threshold=0.0)), "Hi", 5, own)
    own.cancelled = lambda: True  # type: ignore[method-assign]
    assert not judgement.conclude()
    assert judgement.score is None
