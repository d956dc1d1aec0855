"""Verdicts: what is said of two runs, and what is left unsaid."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.runs.verdict import Outcome, first_difference, judge
from app.store import RunStatus
from engine.types import RunConfig, RunMetrics, SamplingParams
from tests.support.fakes import make_metrics


def metrics(**changes: object) -> RunMetrics:
    plain = make_metrics(ttft_s=0.4, tpot_s=0.05, e2e_s=2.0, completion_tokens=30)
    return replace(plain, weights_bytes=200, **changes)  # type: ignore[arg-type]


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


def test_gain_is_told_with_its_numbers() -> None:
    b = outcome("Lane B", metrics=replace(metrics(tpot_s=0.05 / 2.9, ttft_s=0.2, e2e_s=1.0), weights_bytes=58))
    verdict = judge(A, b)
    assert verdict.summary == "Lane B against Lane A: 2.9× faster, 71 % less weight memory, identical text."
    assert verdict.tone == "better"
    assert "TTFT 400 ms → 200 ms, 2.0× sooner." in verdict.details
    assert "E2E 2.00 s → 1.00 s for 30 tokens each." in verdict.details


def test_loss_is_told_as_plainly() -> None:
    b = outcome("Lane B", metrics=replace(metrics(tpot_s=0.1, ttft_s=0.8), weights_bytes=300))
    verdict = judge(A, b)
    assert "2.0× slower, 50 % more weight memory" in verdict.summary
    assert "2.0× later" in " ".join(verdict.details)
    assert verdict.tone == "worse"


def test_small_differences_are_no_gain() -> None:
    verdict = judge(A, outcome("Lane B", metrics=metrics(tpot_s=0.049)))
    assert "as fast per token" in verdict.summary
    assert "weight memory" not in verdict.summary
    assert verdict.tone == "even"


def test_e2e_is_not_compared_at_unequal_token_counts() -> None:
    verdict = judge(A, outcome("Lane B", metrics=metrics(completion_tokens=20, e2e_s=0.1)))
    assert "E2E is not compared: 30 and 20 tokens were written." in verdict.details
    assert not any(detail.startswith("E2E 2.00 s") for detail in verdict.details)


def test_one_token_has_no_tpot() -> None:
    verdict = judge(A, outcome("Lane B", metrics=metrics(tpot_s=None, completion_tokens=1)))
    assert "TPOT needs two tokens" in verdict.summary
    assert not any(detail.startswith("TPOT") for detail in verdict.details)
    assert verdict.tone == "none"


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
    details = judge(A, outcome("Lane B", config=warm, metrics=metrics(queue_s=1.5))).details
    assert "The sampling settings differ." in details
    assert any("temperature above 0" in detail for detail in details)
    assert any(detail.startswith("Lane B waited 1.50 s") for detail in details)
    assert any("difference in speed is noise" in detail for detail in judge(A, outcome("Lane B")).details)


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_first_difference_is_where_sequences_part(mine: list[int], theirs: list[int]) -> None:
    place = first_difference(mine, theirs)
    if place is None:
        assert mine == theirs
    else:
        assert mine[:place] == theirs[:place]
        assert mine[place : place + 1] != theirs[place : place + 1]
