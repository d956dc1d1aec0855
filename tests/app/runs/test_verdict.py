"""Verdicts: what is said of two runs, and what is left unsaid."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.runs.verdict import Noise, Outcome, Verdict, first_difference
from app.runs.verdict import judge as judge_rounds
from app.runs.verdict.noise import ASSUMED_LIMIT
from app.store import Repeats, RunStatus
from engine.types import (
    Backend,
    KVCacheConfig,
    KVDtype,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunMetrics,
    SamplingParams,
)
from tests.support.fakes import make_metrics


def metrics(**changes: object) -> RunMetrics:
    plain = make_metrics(ttft_s=0.4, tpot_s=0.05, e2e_s=2.0, completion_tokens=30)
    return replace(plain, **{"weights_bytes": 200, "kv_bytes": 0, **changes})  # type: ignore[arg-type]


def outcome(name: str = "Lane A", **changes: object) -> Outcome:
    plain = Outcome(
        name=name,
        config=RunConfig(model="small"),
        status=RunStatus.FINISHED,
        text="one two three",
        token_ids=(1, 2, 3),
        finish_reason="stop",
        metrics=metrics(),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


A = outcome()
INT4 = RunConfig(model="small", optimization=OptimizationConfig.at(Precision.INT4))
LENGTHS = st.integers(1, 5)


def judge(first: Outcome, other: Outcome) -> Verdict:
    """One round."""
    return judge_rounds([first], [other])


def race(ratios: list[float], **changes: object) -> tuple[list[Outcome], list[Outcome]]:
    """Rounds in which lane B takes so much less time, in all three figures."""
    faster = [metrics(ttft_s=0.4 / r, tpot_s=0.05 / r, e2e_s=2.0 / r) for r in ratios]
    return [A] * len(ratios), [outcome("Lane B", metrics=m, **changes) for m in faster]


# --- one round -------------------------------------------------------------------------------------------


def test_gain_is_told_with_its_numbers() -> None:
    b = outcome("Lane B", metrics=metrics(tpot_s=0.05 / 2.9, ttft_s=0.2, e2e_s=2 / 2.9, weights_bytes=50, kv_bytes=8))
    verdict = judge(A, b)
    assert verdict.summary == (
        "Lane B against Lane A: 2.9× faster from start to end, 71 % less memory for weights and KV, identical text."
    )
    assert verdict.tone == "better"
    assert "TTFT 400 ms → 200 ms, 2.0× sooner." in verdict.details
    assert "TPOT 50 ms → 17 ms, 2.9× faster." in verdict.details
    assert "E2E 2.0 s → 690 ms for 30 tokens each." in verdict.details


def test_loss_is_told_as_plainly() -> None:
    verdict = judge(A, outcome("Lane B", metrics=metrics(tpot_s=0.1, ttft_s=0.8, e2e_s=4.0, weights_bytes=300)))
    assert "2.0× slower from start to end, 50 % more memory for weights and KV" in verdict.summary
    assert "2.0× later" in " ".join(verdict.details)
    assert verdict.tone == "worse"


def test_small_differences_are_no_gain() -> None:
    verdict = judge(A, outcome("Lane B", metrics=metrics(tpot_s=0.048, ttft_s=0.38, e2e_s=1.9)))
    assert "tied from start to end" in verdict.summary
    assert "memory" not in verdict.summary
    assert verdict.tone == "even"
    assert {"TPOT 50 ms → 48 ms, tied.", "TTFT 400 ms → 380 ms, tied."} <= set(verdict.details)


def test_the_headline_never_is_tpot_alone() -> None:
    """A first token that comes later is told before the pace, and what was thrown away with them."""
    b = outcome(
        "Lane B",
        metrics=metrics(ttft_s=0.56, tpot_s=0.05 / 19.5, e2e_s=0.7, completion_tokens=25, discarded_tokens=119),
        text="other",
        token_ids=(9,),
    )
    verdict = judge(A, b)
    assert "first token 1.4× later, then 20× faster per token" in verdict.summary
    assert "Lane B threw away 119 tokens of a smaller model" in verdict.summary
    assert "Lane B's answer is shorter (25 and 30 tokens)" in verdict.doubt
    assert verdict.tone == "none"
    assert "E2E is not compared: 30 and 25 tokens were written." in verdict.details
    assert not any(detail.startswith("E2E 2") for detail in verdict.details)


def test_one_token_has_no_tpot() -> None:
    verdict = judge(A, outcome("Lane B", metrics=metrics(tpot_s=None, completion_tokens=1)))
    assert "first token tied, speed per token unknown (TPOT needs two tokens)" in verdict.summary
    assert not any(detail.startswith("TPOT") for detail in verdict.details)
    assert verdict.tone == "none"


def test_answers_of_one_token_are_compared_by_the_whole() -> None:
    short = metrics(tpot_s=None, completion_tokens=1, e2e_s=0.4)
    verdict = judge(outcome(metrics=short), outcome("Lane B", metrics=replace(short, ttft_s=0.1, e2e_s=0.1)))
    assert "4.0× faster from start to end" in verdict.summary
    assert verdict.tone == "better"


@given(st.floats(0.1, 10))
def test_one_round_always_says_so(ratio: float) -> None:
    (told,) = [d for d in judge_rounds(*race([ratio])).details if "round" in d.lower()]
    assert told == "One round: differences below about 15 % are noise (not measured yet on this machine: assumed)."


def test_one_round_names_the_noise_of_what_its_headline_speaks_of() -> None:
    measured = Noise(
        {name: Repeats(40, 40 * sd**2) for name, sd in (("ttft_s", 0.1), ("tpot_s", 0.01), ("e2e_s", 0.02))}
    )
    whole = judge_rounds([A], [outcome("Lane B", metrics=metrics(e2e_s=0.5))], measured)
    assert "One round: differences below about 9 % are noise on this machine." in whole.details
    parts = judge_rounds([A], [outcome("Lane B", metrics=metrics(completion_tokens=10))], measured)
    assert "One round: differences below about 46 % in TTFT and 6 % in TPOT are noise on this machine." in parts.details


# --- several rounds --------------------------------------------------------------------------------------


def test_rounds_that_agree_decide_where_a_single_one_could_not() -> None:
    assert judge_rounds(*race([1.1])).tone == "even"
    verdict = judge_rounds(*race([1.10, 1.11, 1.09, 1.10, 1.12]))
    assert verdict.tone == "better"
    assert "1.10× faster from start to end" in verdict.summary
    assert any(d.startswith("5 rounds, Lane A over Lane B: E2E 1.1") for d in verdict.details)


def test_rounds_that_do_not_agree_are_tied_with_their_range() -> None:
    verdict = judge_rounds(*race([1.3, 0.9, 1.2]))
    assert verdict.tone == "even"
    assert "3 rounds, Lane A over Lane B: E2E 1.2× (0.9× to 1.3×)." in verdict.details


def test_rounds_far_apart_are_tied_though_all_are_on_one_side() -> None:
    assert judge_rounds(*race([9.0, 1.05, 1.02])).tone == "even"


def test_disturbed_rounds_are_left_out_where_others_are_quiet() -> None:
    first, other = race([1.5, 1.5, 8.0])
    first[2] = replace(first[2], disturbed="a compiler took 80 % of the processor")
    verdict = judge_rounds(first, other)
    assert "1.5× faster" in verdict.summary
    assert (verdict.tone, verdict.is_disturbed, len(verdict.pairs)) == ("better", False, 2)
    assert "1 disturbed round left out (Lane A: a compiler took 80 % of the processor)." in verdict.details


def test_a_disturbed_side_is_said_first_and_is_no_gain() -> None:
    disturbed = replace(A, disturbed="a compiler took 80 % of the processor.")
    verdict = judge_rounds([disturbed], race([9.0])[1])
    assert verdict.disturbance == "Disturbed: Lane A: a compiler took 80 % of the processor."
    assert (verdict.tone, verdict.is_disturbed) == ("none", True)


def test_rounds_that_were_cut_short_are_left_out() -> None:
    first, other = race([2.0, 2.0, 2.0])
    other[2] = replace(other[2], status=RunStatus.STOPPED, metrics=None, text="")
    verdict = judge_rounds(first, other)
    assert "2.0× faster" in verdict.summary
    assert "2 of 3 rounds came to their end in both lanes." in verdict.details
    assert judge_rounds(first[2:], other[2:]).summary == ("No comparison: Lane B was stopped before its first token.")


def test_a_lane_that_writes_another_text_in_another_round_is_told() -> None:
    first, other = race([2.0, 2.0])
    other[0] = replace(other[0], text="another")
    assert "Lane B wrote 2 different texts in its rounds, though it is greedy." in judge_rounds(first, other).details
    assert not any("different texts" in d for d in judge_rounds(*race([2.0, 2.0])).details)


@given(st.lists(st.floats(0.2, 5), min_size=1, max_size=5))
def test_swapping_the_lanes_inverts_the_verdict(ratios: list[float]) -> None:
    first, other = race(ratios)
    there, back = judge_rounds(first, other), judge_rounds(other, first)
    assert {"better": "worse", "worse": "better", "even": "even"}[there.tone] == back.tone
    for figure, found in there.paired.items():
        assert back.paired[figure].ratio == pytest.approx(1 / found.ratio)
        assert back.paired[figure].spread == pytest.approx(found.spread)


@given(LENGTHS, st.floats(0.01, 100))
def test_identical_figures_are_tied(rounds: int, scale: float) -> None:
    same = [outcome(name, metrics=metrics(e2e_s=scale)) for name in ("Lane A", "Lane B")]
    assert judge_rounds([same[0]] * rounds, [same[1]] * rounds).tone == "even"


def off_the_limit(ratio: float) -> bool:
    """Whether rounding cannot decide which side of the limit a ratio lies on."""
    return not math.isclose(abs(math.log(ratio)), math.log1p(ASSUMED_LIMIT), rel_tol=1e-9)


@given(st.lists(st.floats(0.2, 5).filter(off_the_limit), min_size=1, max_size=5), st.floats(0.01, 100))
def test_a_machine_that_is_slower_by_a_constant_gives_the_same_verdict(ratios: list[float], scale: float) -> None:
    def scaled(run: Outcome) -> Outcome:
        assert run.metrics is not None
        times = {name: getattr(run.metrics, name) * scale for name in ("ttft_s", "tpot_s", "e2e_s")}
        return replace(run, metrics=replace(run.metrics, **times))

    first, other = race(ratios)
    plain, slower = judge_rounds(first, other), judge_rounds(list(map(scaled, first)), list(map(scaled, other)))
    assert (plain.tone, plain.summary) == (slower.tone, slower.summary)


@given(st.floats(-1, 1))
def test_a_pair_within_the_noise_is_never_called(share: float) -> None:
    """A share of the limit either way; the other way is as far on the scale of ratios."""
    (tied,) = {judge_rounds(*race([(1.15 * 0.9999) ** share])).tone}
    assert tied == "even"
    assert judge_rounds(*race([1.16])).tone == "better"
    assert judge_rounds(*race([1 / 1.16])).tone == "worse"


# --- what is worth the same, and what is not --------------------------------------------------------------

OTHER_TEXT: dict[str, object] = {"text": "one two four", "token_ids": (1, 2, 4)}
REPEATING = {"repetition": 0.9, "completion_tokens": 40}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"config": RunConfig(model="large")}, "small wrote Lane A's answer and large Lane B's"),
        ({"tier": "tiny int4"}, "small wrote Lane A's answer and tiny Lane B's"),
        ({"config": INT4, **OTHER_TEXT}, "the text differs, which int4 may have made worse"),
        (
            {
                "config": RunConfig(
                    model="small",
                    optimization=OptimizationConfig(kv_cache=KVCacheConfig(dtype=KVDtype.INT8, window=64)),
                ),
                **OTHER_TEXT,
            },
            "the text differs, which KV in int8 and a window of 64 tokens may have made worse",
        ),
        ({"finish_reason": "length", **OTHER_TEXT}, "Lane A ended by itself and Lane B reached its max tokens"),
        (
            {"config": RunConfig(model="small", sampling=SamplingParams(temperature=0.7)), **OTHER_TEXT},
            "the sampling settings differ",
        ),
    ],
)
def test_nothing_is_better_where_the_answers_are_not_worth_the_same(changes: dict[str, object], why: str) -> None:
    for ratio in (9.0, 1.0, 0.2):
        verdict = judge_rounds(*race([ratio], **changes))
        assert verdict.doubt == f"Whether that is better is open: {why}."
        assert verdict.tone == "none"


def test_an_answer_that_goes_in_circles_is_no_better_one() -> None:
    b = outcome("Lane B", metrics=metrics(e2e_s=0.2, **REPEATING), **OTHER_TEXT)
    a = outcome(metrics=metrics(completion_tokens=40))
    verdict = judge(a, b)
    assert "Lane B's answer repeats itself" in verdict.doubt
    assert verdict.tone == "none"


@pytest.mark.parametrize(
    "changes",
    [
        {"config": INT4},  # the very same text
        {"tier": "small int4"},
        dict(OTHER_TEXT),  # near ties of the same weights
        {"config": RunConfig(model="small", backend=Backend.REFERENCE), **OTHER_TEXT},
        {"config": RunConfig(model="small", sampling=SamplingParams(seed=3))},
    ],
)
def test_answers_of_the_same_worth_may_be_better(changes: dict[str, object]) -> None:
    assert judge_rounds(*race([2.0], **changes)).tone == "better"


def test_two_backends_are_said_and_can_be_made_alike() -> None:
    plain = replace(A, config=RunConfig(model="small", backend=Backend.REFERENCE))
    verdict = judge(plain, outcome("Lane B"))
    assert verdict.is_of_two_backends
    assert (
        "Lane A runs on transformers, Lane B runs on Gearbox's own kernels: the difference is the backends' as well as "
        "the gears'."
    ) in verdict.details
    assert not judge(A, outcome("Lane B")).is_of_two_backends


def test_same_model_is_compared_by_tokens() -> None:
    b = outcome("Lane B", text="one two four", token_ids=(1, 2, 4))
    assert "text differs from token 3" in judge(A, b).summary


def test_different_models_are_compared_by_words() -> None:
    other = RunConfig(model="large")
    same = judge(A, outcome("Lane B", config=other, token_ids=(7, 8)))
    differing = judge(A, outcome("Lane B", config=other, text="one four", token_ids=(7, 8)))
    assert "identical text" in same.summary
    assert "text differs from word 2" in differing.summary
    assert "The models differ, so the texts are compared by words." in differing.details


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"finish_reason": "length"}, "reached its max tokens"),
        ({"finish_reason": "abort", "status": RunStatus.STOPPED}, "was stopped"),
    ],
)
def test_text_cut_short_is_not_called_identical(changes: dict[str, object], reason: str) -> None:
    verdict = judge(A, outcome("Lane B", text="one two", token_ids=(1, 2), **changes))
    assert f"same text up to token 2, where Lane B {reason}" in verdict.summary


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RunStatus.FAILED, "Lane B failed"),
        (RunStatus.STOPPED, "Lane B was stopped before its first token"),
        (RunStatus.INTERRUPTED, "Lane B was interrupted"),
    ],
)
def test_nothing_is_compared_where_a_run_has_no_figures(status: RunStatus, words: str) -> None:
    verdict = judge(A, outcome("Lane B", status=status, metrics=None))
    assert verdict.summary == f"No comparison: {words}."
    assert (verdict.details, verdict.tone) == ((), "none")


def test_both_missing_are_both_named() -> None:
    nothing = metrics(ttft_s=None, tpot_s=None, completion_tokens=0)
    verdict = judge(outcome(metrics=nothing), outcome("Lane B", status=RunStatus.FAILED, metrics=None))
    assert verdict.summary == "No comparison: Lane A wrote nothing and Lane B failed."


def test_caveats_are_given() -> None:
    warm = RunConfig(model="small", sampling=SamplingParams(temperature=0.7))
    beside = replace(metrics(queue_s=1.5), mean_batch_size=4.2)
    details = judge(A, outcome("Lane B", config=warm, metrics=beside)).details
    assert "The sampling settings differ." in details
    assert any("temperature above 0" in detail for detail in details)
    assert any(detail.startswith("Lane B waited 1.50 s") for detail in details)
    assert "Lane B shared its passes with 3.20 others on average: its times are not its own." in details
    assert not any(detail.startswith("Lane A shared") for detail in details)
    assert any("difference in speed is noise" in detail for detail in judge(A, outcome("Lane B")).details)


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_first_difference_is_where_sequences_part(mine: list[int], theirs: list[int]) -> None:
    place = first_difference(mine, theirs)
    if place is None:
        assert mine == theirs
    else:
        assert mine[:place] == theirs[:place]
        assert mine[place : place + 1] != theirs[place : place + 1]
