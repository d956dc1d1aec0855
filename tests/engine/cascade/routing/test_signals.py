"""What a router looks at."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.cascade.routing.records import TierAnswer
from engine.cascade.routing.signals import (
    ANSWER_SIGNALS,
    FIRST_TOKENS,
    PROMPT_FEATURES,
    FeatureTable,
    answer_signals,
    answer_table,
    prompt_features,
    prompt_table,
    read_by_a_model,
    reading_table,
)
from engine.types import TokenEvent
from tests.support.cascade import answer


def test_answer_signals_by_hand() -> None:
    signals = answer_signals(answer(logprobs=(-0.1, -0.5, -2.0)))
    assert set(signals) == set(ANSWER_SIGNALS)
    assert signals["mean_logprob"] == pytest.approx(-2.6 / 3)
    assert signals["min_logprob"] == -2.0
    assert signals["q10_logprob"] == pytest.approx(-2.0 + 0.2 * 1.5)
    assert signals["mean_margin"] == pytest.approx(3 - 2.6 / 3)
    assert (signals["mean_entropy"], signals["max_entropy"]) == pytest.approx((5.2 / 3, 4.0))
    assert signals["reached_eos"] == 1.0
    assert signals["log_tokens"] == pytest.approx(math.log(4))


def test_early_signals_see_the_first_16_tokens_only() -> None:
    signals = answer_signals(answer(logprobs=(-0.1,) * 16 + (-9.0,) * 4))
    assert signals["first_min_logprob"] == -0.1
    assert signals["first_mean_logprob"] == pytest.approx(-0.1)
    assert signals["min_logprob"] == -9.0


def test_what_is_not_known_is_nan() -> None:
    empty = answer_signals(answer(logprobs=()))
    assert math.isnan(empty["mean_logprob"])
    assert math.isnan(empty["first_max_entropy"])
    without_margins = answer_signals(replace(answer(), margins=()))
    assert math.isnan(without_margins["mean_margin"])
    assert not math.isnan(without_margins["mean_logprob"])


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("Write a Python function slug(title).", "code"),
        ("What is 7 + 5?", "arithmetic"),
        ("Reply with JSON only.", "format"),
        ("A) red B) green", "choices"),
        ("Who wrote it?", "fact_question"),
        ("Explain why.", "reason_question"),
        ("Summarise the text.", "writing"),
        ("Which is not a fruit?", "negation"),
    ],
)
def test_markers_are_found_where_they_are(text: str, feature: str) -> None:
    assert prompt_features(text)[feature] > 0
    assert prompt_features("Good morning")[feature] == 0


def test_an_empty_prompt_has_features() -> None:
    assert all(math.isfinite(value) for value in prompt_features("").values())


def test_what_the_small_model_saw_is_added() -> None:
    read = [replace(answer(logprobs=(-first, -0.1)), hidden=(0.0, 1.0, state)) for first, state in ((1, 2), (2, 5))]
    table = reading_table(["a", "b"], read)
    assert table.names == (*PROMPT_FEATURES, "prefill_entropy", "hidden_0", "hidden_1", "hidden_2")
    assert table.column("prefill_entropy").tolist() == [2.0, 4.0]
    assert table.column("hidden_2").tolist() == [2.0, 5.0]
    assert reading_table(["a", "b"], read, hidden=False).names == (*PROMPT_FEATURES, "prefill_entropy")
    assert prompt_table(["a", "b"]).names == PROMPT_FEATURES
    with pytest.raises(ValueError, match="dimension"):
        reading_table(["a"], read)


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_a_token_whose_figures_are_not_finite_makes_the_signals_that_rest_on_it_unknown(unknown: float) -> None:
    tokens = [TokenEvent(7, "a", 0.1, -0.5, 1.0, margin=2.0)] * FIRST_TOKENS
    broken = [*tokens, TokenEvent(8, "b", 0.2, unknown, unknown, margin=unknown)]
    signals = answer_signals(TierAnswer.from_tokens("", broken, "stop", prompt_tokens=1))
    assert {name for name, value in signals.items() if math.isnan(value)} == {
        "mean_logprob", "q10_logprob", "min_logprob", "mean_margin", "q10_margin", "mean_entropy", "max_entropy",
    }  # fmt: skip
    assert signals["first_mean_logprob"] == -0.5
    assert signals["log_tokens"] == math.log1p(FIRST_TOKENS + 1)


def test_a_table_gives_what_is_asked_and_nan_for_what_it_has_not() -> None:
    table = answer_table([answer(), answer(logprobs=())])
    chosen = table.select(["log_tokens", "no such signal"])
    assert chosen[:, 0].tolist() == pytest.approx([math.log(4), 0.0])
    assert np.isnan(chosen[:, 1]).all()
    assert len(FeatureTable.of([], ANSWER_SIGNALS)) == 0
    with pytest.raises(ValueError, match="names"):
        FeatureTable(names=("a",), values=np.zeros((2, 2)))


def test_what_the_small_model_makes_of_a_prompt() -> None:
    read = replace(answer(logprobs=(-0.5, -0.1)), hidden=(1.0, 2.0))
    table = reading_table(["a", "b", "c"], [read, answer(), answer(logprobs=())])
    assert table.column("prefill_entropy").tolist()[:2] == [1.0, 0.2]
    assert math.isnan(table.column("prefill_entropy")[2])
    assert table.column("hidden_1")[0] == 2.0
    assert np.isnan(table.column("hidden_1")[1:]).all()
    assert not any(name.startswith("hidden") for name in reading_table(["a"], [answer()]).names)
    assert [name for name in table.names if read_by_a_model(name)] == ["prefill_entropy", "hidden_0", "hidden_1"]


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("unit", ["1 ", "1,", "n't ", "w()", " ", "\n", "a'", "(A) ", "```", "A. ", "1  * "])
def test_prompts_of_a_megabyte_are_read_in_bounded_time(unit: str) -> None:
    assert all(map(math.isfinite, prompt_features(unit * (10**6 // len(unit))).values()))
