"""Recorded answers: what is refused, and that a file gives back what was written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cascade.routing.records import (
    RoutedPrompt,
    TierAnswer,
    data_hash,
    read_prompts,
    scored_by_both,
    write_prompts,
)
from engine.errors import RecordedPairsError
from engine.types import TokenEvent
from tests.support.cascade import STRONG, WEAK, answer, prompt

FIGURES = st.lists(st.floats(-30, 0), max_size=6).map(tuple)


@settings(deadline=None)
@given(st.text(), st.none() | st.floats(0, 1), FIGURES, st.floats(0, 100), st.none() | st.floats(0, 10))
def test_a_record_survives_json_up_to_its_rounding(
    text: str, score: float | None, logprobs: tuple[float, ...], e2e_s: float, ttft_s: float | None
) -> None:
    written = answer(score, logprobs, text, e2e_s, ttft_s)
    read = TierAnswer.from_dict(written.to_dict())
    assert read.to_dict() == written.to_dict()
    assert (read.text, read.score, read.token_ids) == (written.text, written.score, written.token_ids)
    assert read.logprobs == pytest.approx(written.logprobs, abs=5e-5)
    assert read.e2e_s == pytest.approx(written.e2e_s, abs=5e-7)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    # a line separator inside a text is no end of a line
    prompts = (
        prompt("a", answer(0.0), answer(1.0), text="one\u2028two\nthree"),
        prompt("b", answer(None), answer(1.0)),
    )
    write_prompts(path, prompts)
    assert read_prompts(path) == prompts
    assert len(path.read_text().split("\n")) == 3
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "“pairs.jsonl” cannot be read. Line 2: not JSON"),
        ("[]", "“pairs.jsonl” cannot be read. Line 2: a JSON object"),
        ("[" * 100_000, "Line 2: not JSON .it is nested"),
        ('{"prompt_id": [], "category": "", "prompt": "", "answers": {}}', "Line 2: .*no text"),
        ('{"prompt_id": "b"}', "Line 2"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "pairs.jsonl"
    write_prompts(path, [prompt("a", answer(), answer())])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(RecordedPairsError, match=message):
        read_prompts(path)


def test_a_repeated_prompt_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    with pytest.raises(RecordedPairsError, match="cannot be read"):
        read_prompts(path)
    write_prompts(path, [prompt("a", answer(), answer()), prompt("a", answer(), answer())])
    with pytest.raises(RecordedPairsError, match="repeats the prompt “a”"):
        read_prompts(path)


@pytest.mark.parametrize(
    "change",
    [
        {"score": 1.5},
        {"score": math.nan},
        {"logprobs": (-0.1, -0.5, -math.inf)},
        {"entropies": (1.0,)},
        {"margins": (1.0,)},
        {"e2e_s": -1.0},
        {"finish_reason": "tired"},
    ],
)
def test_figures_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(RecordedPairsError, match="cannot be used"):
        replace(answer(), **change)


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_unknown_and_survives_json(unknown: float) -> None:
    tokens = [
        TokenEvent(1, "a", 0.1, unknown, 1.0, margin=2.0),
        TokenEvent(2, "b", 0.2, -0.5, unknown),
        TokenEvent(3, "c", 0.3, -0.5, 1.0, margin=unknown),
    ]
    made = TierAnswer.from_tokens("abc", tokens, "stop", prompt_tokens=4, hidden=(0.5, unknown))
    assert (made.completion_tokens, made.hidden) == (3, ())
    assert np.isnan(made.logprobs).tolist() == [True, False, False]
    assert np.isnan(made.entropies).tolist() == [False, True, False]
    assert np.isnan(made.margins).tolist() == [False, True, True]
    written = made.to_dict()
    assert written["margins"] == [2.0, None, None]
    assert TierAnswer.from_dict(json.loads(json.dumps(written, allow_nan=False))).to_dict() == written
    nowhere = [TokenEvent(1, "a", 0.1, -0.5, 1.0, margin=margin) for margin in (None, unknown)]
    assert TierAnswer.from_tokens("aa", nowhere, "stop", prompt_tokens=4).margins == ()


def test_the_hash_is_of_the_data_not_of_its_order() -> None:
    prompts = [prompt("a", answer(0.0), answer(1.0)), prompt("b", answer(1.0), answer(1.0))]
    assert data_hash(prompts) == data_hash(reversed(prompts))
    assert data_hash(prompts) != data_hash(prompts[:1])


def test_only_prompts_scored_by_both_tell_something() -> None:
    whole = prompt("a", answer(0.0), answer(1.0))
    unscored = prompt("b", answer(None), answer(1.0))
    half = RoutedPrompt(prompt_id="c", category="", prompt="?", answers={WEAK: answer()})
    assert scored_by_both([whole, unscored, half], WEAK, STRONG) == (whole,)


def test_a_hidden_state_is_kept_and_answers_from_before_it_was_recorded_are_read() -> None:
    written = replace(answer(), hidden=(0.12345, -2.0))
    assert TierAnswer.from_dict(written.to_dict()).hidden == (0.1235, -2.0)
    assert "hidden" not in answer().to_dict(), "the hash of older records stays as it was"
    with pytest.raises(RecordedPairsError, match="not a finite number"):
        replace(answer(), hidden=(math.nan,))


def test_what_was_known_after_some_tokens() -> None:
    whole = replace(answer(logprobs=(-0.1,) * 10, e2e_s=2.0, ttft_s=0.2), token_ids=(1, 2, 3, 4, 1, 2, 3, 4, 1, 2))
    begun = whole.after(4)
    assert (begun.completion_tokens, len(begun.logprobs), len(begun.margins)) == (4, 4, 4)
    assert (begun.finish_reason, begun.e2e_s) == ("length", pytest.approx(0.8))
    assert begun.repetition == 0.0
    assert whole.after(1).e2e_s == pytest.approx(0.2)
    # an answer that had ended by then is known whole
    assert whole.after(10) is whole
    silent = answer(logprobs=(), ttft_s=None)
    assert silent.after(16) is silent


def test_records_as_other_tools_write_them_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    odd = replace(prompt("a", answer(), answer()), prompt="one\u2028two\u0085")
    write_prompts(path, [odd])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_prompts(path) == (odd,)


@pytest.mark.parametrize("number", ["NaN", "1e999", "9" * 400, "9" * 5000])
@pytest.mark.parametrize("field", ["score", "e2e_s", "prompt_tokens", "logprobs", "token_ids"])
def test_numbers_that_cannot_be_are_named_with_their_line(tmp_path: Path, field: str, number: str) -> None:
    path = tmp_path / "pairs.jsonl"
    tree = prompt("a", answer(), answer()).to_dict()
    tree["answers"][WEAK][field] = ["@"] if isinstance(tree["answers"][WEAK][field], list) else "@"
    path.write_text(json.dumps(tree).replace('"@"', number))
    with pytest.raises(RecordedPairsError, match="Line 1: "):
        read_prompts(path)
